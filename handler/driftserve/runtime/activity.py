"""Shows which workers are busy. The supervisor waits for them before it stops the server.

Neither server says how many requests are in progress. So each worker locks its own file while it answers. The kernel
releases the lock of a worker that dies.
"""

import os
from pathlib import Path
from types import TracebackType

from driftserve.host.lock import is_locked, lock, unlock

_DIRECTORY = "workers"


class BusyMark:
    """A worker's file, locked while the worker is busy. `with mark:` around a batch takes about 5 us."""

    def __init__(self, runtime_dir: Path) -> None:
        """Create the file of this process."""
        directory = runtime_dir / _DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / str(os.getpid())).open("w")

    def __enter__(self) -> None:
        lock(self._file)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.utime(self._file.fileno())  # shows a batch that started and ended between two checks
        unlock(self._file)


def last_activity(runtime_dir: Path, now: float) -> float:
    """Return when a worker was last busy, in seconds since the epoch: `now` if one is busy, 0.0 if none ever was."""
    return max((now if is_locked(mark) else mark.stat().st_mtime for mark in _marks(runtime_dir)), default=0.0)


def last_finished(runtime_dir: Path) -> float:
    """Return when a worker last finished a batch, in seconds since the epoch; 0.0 if none ever did."""
    return max((mark.stat().st_mtime for mark in _marks(runtime_dir)), default=0.0)


def living_workers(runtime_dir: Path) -> int:
    """Return the number of live workers that have loaded their model."""
    return sum(_is_alive(mark.name) for mark in _marks(runtime_dir))


def marked_workers(runtime_dir: Path) -> set[str]:
    """Return the process ids of the workers that have loaded their model, including dead ones."""
    return {mark.name for mark in _marks(runtime_dir)}


def forget_dead_workers(runtime_dir: Path) -> None:
    """Remove the files of dead workers, since the kernel will reuse their process ids."""
    for mark in _marks(runtime_dir):
        if not _is_alive(mark.name):
            mark.unlink(missing_ok=True)


def _marks(runtime_dir: Path) -> list[Path]:
    return list((runtime_dir / _DIRECTORY).glob("*"))


def _is_alive(process_id: str) -> bool:
    """Return whether a process runs; False for a zombie, which MMS leaves of a dead worker for a second or more."""
    try:
        status = Path("/proc", process_id, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")  # proc_pid_stat(5)
