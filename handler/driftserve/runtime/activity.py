"""Which workers are at work: what a supervisor waits for before it stops the server.

Neither server tells how many requests are under way, so each worker holds a lock on a file of its own while it
answers. The kernel releases the lock of a worker that dies.
"""

import os
from pathlib import Path
from types import TracebackType

from driftserve.host.lock import is_locked, lock, unlock

_DIRECTORY = "workers"


class BusyMark:
    """A worker's mark; `with mark:` around every batch costs some 5 us."""

    def __init__(self, runtime_dir: Path) -> None:
        """Make the mark of this process."""
        directory = runtime_dir / _DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / str(os.getpid())).open("w")

    def __enter__(self) -> None:
        lock(self._file)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.utime(self._file.fileno())  # so that a batch between two looks is seen
        unlock(self._file)


def last_activity(runtime_dir: Path, now: float) -> float:
    """When a worker was last at work, in seconds since the epoch: `now` if one is, 0.0 if none ever was."""
    return max((now if is_locked(mark) else mark.stat().st_mtime for mark in _marks(runtime_dir)), default=0.0)


def last_finished(runtime_dir: Path) -> float:
    """When a worker last finished a batch, in seconds since the epoch; 0.0 if none ever did."""
    return max((mark.stat().st_mtime for mark in _marks(runtime_dir)), default=0.0)


def living_workers(runtime_dir: Path) -> int:
    """The number of workers that have loaded their model, and live."""
    return sum(_is_alive(mark.name) for mark in _marks(runtime_dir))


def marked_workers(runtime_dir: Path) -> set[str]:
    """The process ids of the workers that have loaded their model; some may have died since."""
    return {mark.name for mark in _marks(runtime_dir)}


def forget_dead_workers(runtime_dir: Path) -> None:
    """Remove the marks of workers that do not live: their process ids will be given to others."""
    for mark in _marks(runtime_dir):
        if not _is_alive(mark.name):
            mark.unlink(missing_ok=True)


def _marks(runtime_dir: Path) -> list[Path]:
    return list((runtime_dir / _DIRECTORY).glob("*"))


def _is_alive(process_id: str) -> bool:
    """Whether a process runs; a zombie does not, though MMS leaves a dead worker as one for a second or more."""
    try:
        status = Path("/proc", process_id, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")  # proc_pid_stat(5)
