"""The store of a multi-model server: unpacked, verified archives, one copy for each content digest.

Workers serve from these copies. A worker locks the directory of its copy, and the kernel unlocks it when the worker
dies. Unlocked copies are removed. A process that changes the store must have the store's own lock.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from driftserve.archive.served import digest_of
from driftserve.host.lock import lock, try_lock
from driftserve.runtime.directory import forget_contract, known_keys

_COPY = "[0-9a-f]" * 64
_SCRATCH = "unverified-*"


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Lock the store for one process at a time. Create it if it does not exist."""
    store.mkdir(exist_ok=True)
    with (store / ".lock").open("w") as file:
        lock(file)
        yield


def scratch(store: Path) -> Path:
    """Return the directory in which this process, which must have the store's lock, unpacks an unverified archive."""
    return store / f"{_SCRATCH[:-1]}{os.getpid()}"


def hold(copy: Path) -> None:
    """Lock a copy against `sweep` until this process ends. The lock survives `exec`."""
    descriptor = os.open(copy, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    lock(descriptor, is_shared=True)


def sweep(store: Path, spare: str = "") -> None:
    """Remove the copies that no worker holds and their contracts, and the files of killed verifications.

    The caller must have the store's lock. `spare` is the digest of a copy to keep. The monitor stops watching a model
    when its contract is removed.
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
                for key in known_keys(store.parent) | {copy.name}:
                    if digest_of(key) == copy.name:
                        forget_contract(store.parent, key)
        finally:
            os.close(descriptor)
