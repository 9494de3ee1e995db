"""`python -I -m driftserve.worker SCRIPT...`: verifies the archive in its current directory, then becomes the worker.

A multi-model server starts this in the directory of the archive that it was asked to load, which nobody has looked at
yet. What is served is a copy that was verified, by the archive's content digest in the runtime directory; workers
of the same archive share it.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from driftserve.activity import marked_workers
from driftserve.archive import HANDLER_FILE, MANIFEST_FILE, find_archive, read_archive
from driftserve.bootstrap import configure_logging
from driftserve.cgroup import available_memory_bytes
from driftserve.errors import ArchiveError, DriftserveError, SettingsError
from driftserve.printable import printable
from driftserve.runtime import SERVED_DIR_VARIABLE
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_WORKER_BYTES = 300 << 20  # what Python, torch and a small graph take
_GRAPH_COPIES = 3  # the archive's bytes, while the graph is loaded and frozen
# The server's own loader turns this error into the status 507, at which SageMaker unloads other models.
_NO_MEMORY_SOURCE = "def handle(data, context):\n    raise MemoryError('there is no memory for another model')\n"


def main(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the server's worker; exit with 1 where the archive is refused."""
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        served = prepare(Path.cwd(), settings)
    except (DriftserveError, OSError) as error:
        sys.stderr.write(f"driftserve: {printable(' '.join(str(error).split()))}\n")
        sys.exit(1)
    _become_worker(served, arguments)


def prepare(place: Path, settings: Settings) -> Path:
    """The directory to serve the archive in a directory from: a verified copy, held for as long as this process lives.

    Where the memory would not do, it is one whose handler says so.

    Raises:
        ArchiveError: the archive is refused, or lies elsewhere than archives may.
        SettingsError: there is no runtime directory.
    """
    if settings.runtime_dir is None:
        raise SettingsError("DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing; `driftserve serve` sets it")
    place = place.resolve()
    # Where the server itself unpacks a `.mar` that it was given by an allowed URL.
    allowed = (settings.models_dir.resolve(), settings.runtime_dir.resolve() / "torchserve" / "models")
    if not any(place.is_relative_to(directory) for directory in allowed):
        raise ArchiveError(f"{place}: expected an archive below {settings.models_dir}; put it there")
    archive = find_archive(place)
    if not (place / MANIFEST_FILE).is_file():
        raise ArchiveError(
            f"{place}: expected {MANIFEST_FILE} beside {archive.name}, which the server asks for the handler; load the "
            "model.tar.gz that the export wrote, unpacked, or the .mar itself by a file:// URL"
        )
    store = settings.runtime_dir / "store"
    store.mkdir(exist_ok=True)
    with _locked(store):
        if not _is_room(archive, store, settings.runtime_dir):
            return _refusal(store)
        served = _verified_copy(archive, store, settings)
        _hold(served)
        _sweep(store)
    return served


def _is_room(archive: Path, store: Path, runtime_dir: Path) -> bool:
    """Whether there is memory for another worker, beside those that have begun and did not take theirs yet."""
    beginning = store / "beginning"
    beginning.mkdir(exist_ok=True)
    loaded = marked_workers(runtime_dir)
    for mark in beginning.iterdir():
        if mark.name in loaded or not Path("/proc", mark.name).exists():
            mark.unlink()
    others = len(list(beginning.iterdir()))
    needed = (1 + others) * (_WORKER_BYTES + _GRAPH_COPIES * _size(archive))
    if (free := available_memory_bytes()) < needed:
        logger.warning(
            "%s: expected %d MiB of free memory, beside %d workers that begin, got %d",
            archive,
            needed >> 20,
            others,
            free >> 20,
        )
        return False
    (beginning / str(os.getpid())).touch()  # `exec` keeps the process id
    return True


def _become_worker(served: Path, arguments: Sequence[str]) -> NoReturn:
    os.chdir(served)
    environment = os.environ | {"PYTHONPATH": str(served), SERVED_DIR_VARIABLE: str(served)}
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell is wanted


def _size(archive: Path) -> int:
    files = archive.rglob("*") if archive.is_dir() else [archive]
    return sum(path.stat().st_size for path in files)


def _refusal(store: Path) -> Path:
    directory = store / "no-memory"
    directory.mkdir(exist_ok=True)
    (directory / HANDLER_FILE).write_text(_NO_MEMORY_SOURCE)
    return directory


@contextlib.contextmanager
def _locked(store: Path) -> Iterator[None]:
    """One worker at a time: two verifications at once would need the memory of two."""
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _verified_copy(archive: Path, store: Path, settings: Settings) -> Path:
    _, digest = read_archive(archive)
    if (store / digest).is_dir():
        return store / digest
    from driftserve.verification import verify_archive  # torch, which takes seconds

    scratch = store / f"unverified-{os.getpid()}"
    try:
        verified = verify_archive(archive, scratch, settings.archive_sha256)
        return scratch.replace(store / verified.digest)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _hold(served: Path) -> None:
    """Lock the directory until this process ends; the lock stays through `exec`."""
    descriptor = os.open(served, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def _sweep(store: Path) -> None:
    """Remove the copies that no worker holds any more."""
    for directory in store.glob("[0-9a-f]" * 64):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
