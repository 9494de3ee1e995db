"""Verified copies of archives, one a content digest, that the workers of a multi-model server serve from.

A worker holds its copy by a lock on the directory, which the kernel unlocks when the worker dies; what nobody holds is
swept. Whoever changes something in the store has its lock.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from driftserve.host.lock import lock, try_lock
from driftserve.runtime.directory import forget_contract

_COPY = "[0-9a-f]" * 64
_SCRATCH = "unverified-*"


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """The store, for one process at a time; it is made where it does not exist."""
    store.mkdir(exist_ok=True)
    with (store / ".lock").open("w") as file:
        lock(file)
        yield


def scratch(store: Path) -> Path:
    """Where the process that has the lock unpacks what is not verified yet."""
    return store / f"{_SCRATCH[:-1]}{os.getpid()}"


def hold(copy: Path) -> None:
    """Keep a copy from being swept until this process ends, `exec` or not."""
    descriptor = os.open(copy, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    lock(descriptor, is_shared=True)


def sweep(store: Path, spare: str = "") -> None:
    """Remove the copies that nobody holds, with their contracts, and what verifications that were killed have left.

    The caller has the lock, and may spare one copy, by its digest. The monitor forgets a model whose contract is gone.
    """
    for left in store.glob(_SCRATCH):
        shutil.rmtree(left, ignore_errors=True)
    for copy in store.glob(_COPY):
        if copy.name == spare:
            continue
        descriptor = os.open(copy, os.O_RDONLY)
        try:
            if try_lock(descriptor):
                shutil.rmtree(copy, ignore_errors=True)
                forget_contract(store.parent, copy.name)
        finally:
            os.close(descriptor)
