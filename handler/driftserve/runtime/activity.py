"""Shows which workers are alive and busy. The supervisor waits for them before it stops the server.

Neither server says how many requests are in progress. So each worker has a file, its mark, which it locks while it
answers. The kernel releases the lock of a worker that dies. The mark says when the worker's process started, because
process ids are used again, and when the worker last finished a batch, by the monotonic clock, which never jumps and is
the same in all processes.
"""

import contextlib
import os
import struct
import threading
import time
from pathlib import Path
from types import TracebackType

from driftserve.host.lock import lock, try_lock, unlock
from driftserve.host.process import started_at

RESERVATIONS_DIRECTORY = "beginning"  # files of workers that have reserved memory, and have not loaded their model yet
_DIRECTORY = "workers"
_MARK = struct.Struct("<qq")  # start of the process in clock ticks; end of the last batch in ns, 0 before the first
_FINISHED_OFFSET = 8


class BusyMark:
    """A worker's file, locked while the worker is busy. `with mark:` around a batch takes about 5 us."""

    def __init__(self, runtime_dir: Path) -> None:
        """Create the mark of this process, and remove its reservation of memory, because its model is loaded."""
        process_id = str(os.getpid())
        directory = runtime_dir / _DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        new = runtime_dir / f".worker-{process_id}"  # a reader must not see half a mark
        self._file = new.open("wb", buffering=0)
        self._file.write(_MARK.pack(started_at(process_id) or 0, 0))
        new.replace(directory / process_id)
        (runtime_dir / RESERVATIONS_DIRECTORY / process_id).unlink(missing_ok=True)

    def __enter__(self) -> None:
        lock(self._file)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # a full disk must not fail a request
            # The time shows a batch that started and ended between two checks.
            os.pwrite(self._file.fileno(), struct.pack("<q", time.monotonic_ns()), _FINISHED_OFFSET)
        unlock(self._file)


class Workers:
    """The workers of a server, as its supervisor sees them. Several threads may use one object.

    The marks are kept open, so that a removed mark of a living worker still counts.
    """

    def __init__(self, runtime_dir: Path) -> None:
        self._directory = runtime_dir / _DIRECTORY
        self._marks: dict[str, int] = {}  # file descriptors, by process id
        self._finished = 0  # when a worker last finished a batch; a dead worker counts, too
        self._lock = threading.Lock()

    def last_activity(self, now: float) -> float:
        """Return when a worker was last busy, in seconds of the monotonic clock.

        The result is `now` if one is busy, and 0.0 if none ever was.
        """
        with self._lock:
            self._sync()
            is_busy = any(_is_locked(mark) for mark in self._marks.values())
            return now if is_busy else self._finished / 1e9

    def last_finished(self) -> float:
        """Return when a worker last finished a batch, in seconds of the monotonic clock; 0.0 if none ever did."""
        with self._lock:
            self._sync()
            return self._finished / 1e9

    def living(self) -> int:
        """Return the number of live workers that have loaded their model. Remove the marks of dead ones."""
        with self._lock:
            self._sync()
            return len(self._marks)

    def close(self) -> None:
        """Close the marks."""
        with self._lock:
            while self._marks:
                os.close(self._marks.popitem()[1])

    def _sync(self) -> None:
        """Open new marks, read the times of all, and forget those of dead workers."""
        for path in self._directory.glob("*"):
            if path.name not in self._marks:
                with contextlib.suppress(OSError):
                    self._marks[path.name] = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        for process_id, mark in list(self._marks.items()):
            started, finished = _read(mark)
            self._finished = max(self._finished, finished)
            if started is None or started_at(process_id) != started:
                path = self._directory / process_id
                if path.exists() and os.path.samestat(path.stat(), os.fstat(mark)):  # not a new worker's
                    path.unlink(missing_ok=True)
                os.close(self._marks.pop(process_id))


def _read(mark: int) -> tuple[int | None, int]:
    content = os.pread(mark, _MARK.size, 0)
    return _MARK.unpack(content) if len(content) == _MARK.size else (None, 0)


def _is_locked(mark: int) -> bool:
    if not try_lock(mark, is_shared=True):
        return True
    unlock(mark)
    return False
