"""The lock of a folder that one local run has at a time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(work: Path, say_waiting: Callable[[], None]) -> Iterator[int]:
    """Holds the lock of a folder of executions; gives its file descriptor.

    Whoever inherits the descriptor holds it too, so that it is not free before the last process of a run has ended.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
