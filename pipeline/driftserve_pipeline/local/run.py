"""A run on this machine: one at a time in a folder, and how it has ended."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from driftserve.host.lock import lock, try_lock


@dataclass(frozen=True)
class Result:
    """How an execution ended: with a package in the registry, with nothing to register, or with a reason."""

    execution_id: str
    reason: str | None = None
    """Why it failed; None where it has not."""
    package: str | None = None
    """ARN of the registered model package."""
    archive: str | None = None
    """The folder with the archive of what ran last, which can be served."""


@contextmanager
def locked(work: Path, say_waiting: Callable[[], None]) -> Iterator[int]:
    """Holds the lock of a folder of executions; gives its file descriptor.

    Whoever inherits the descriptor holds it too, so that it is not free before the last process of a run has ended.
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
