"""The result of a local run, and the lock that allows one run at a time in a folder."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from driftserve.host.lock import lock, try_lock


@dataclass(frozen=True)
class Result:
    """The result of an execution: a package in the registry, nothing to register, or a failure."""

    execution_id: str
    reason: str | None = None
    """Why the execution failed; None if it did not fail."""
    package: str | None = None
    """ARN of the registered model package."""
    archive: str | None = None
    """Folder with the archive of the last run, ready to serve."""


@contextmanager
def locked(work: Path, say_waiting: Callable[[], None]) -> Iterator[int]:
    """Context manager that holds the lock of a work folder; it yields the file descriptor of the lock.

    A process that inherits the descriptor holds the lock too. The lock is free when the last process has ended.
    """
    work.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            say_waiting()
            lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)
