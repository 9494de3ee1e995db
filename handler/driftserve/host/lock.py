"""Locks between processes: `flock(2)` on an open file. The kernel releases a lock when its last holder dies."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Protocol


class OpenFile(Protocol):
    """An object with a file descriptor, such as an open file."""

    def fileno(self) -> int:
        """The file descriptor."""


def lock(file: OpenFile | int, *, is_shared: bool = False) -> None:
    """Lock an open file; wait if another process has the lock. A shared lock allows other shared locks."""
    fcntl.flock(file, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)


def try_lock(file: OpenFile | int, *, is_shared: bool = False) -> bool:
    """Lock an open file if that is possible without waiting; return whether this process has the lock now."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: OpenFile | int) -> None:
    """Release the lock of an open file. Closing the file does the same."""
    fcntl.flock(file, fcntl.LOCK_UN)


def is_locked(path: Path) -> bool:
    """Return whether a process has an exclusive lock on a file; False if there is no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and not try_lock(descriptor, is_shared=True)
    finally:
        os.close(descriptor)
