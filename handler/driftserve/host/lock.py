"""Locks between processes: `flock(2)` on an open file, which the kernel releases when its last holder dies."""

import fcntl
from pathlib import Path
from typing import Protocol


class OpenFile(Protocol):
    """An open file, or a file descriptor's owner."""

    def fileno(self) -> int:
        """The file descriptor."""


def lock(file: OpenFile | int, *, is_shared: bool = False) -> None:
    """Lock an open file, after whoever has it now; a shared lock lets other shared ones in."""
    fcntl.flock(file, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)


def try_lock(file: OpenFile | int, *, is_shared: bool = False) -> bool:
    """Whether the open file could be locked at once; then it is."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: OpenFile | int) -> None:
    """Release the lock of an open file, which closing it does too."""
    fcntl.flock(file, fcntl.LOCK_UN)


def is_locked(path: Path) -> bool:
    """Whether some process has a file locked for itself; false where there is no such file."""
    try:
        with path.open() as file:
            return not try_lock(file, is_shared=True)
    except FileNotFoundError:
        return False
