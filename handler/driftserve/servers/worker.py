"""`python -I -m driftserve.servers.worker SCRIPT...`: verifies the archive in its directory, then becomes the worker.

A multi-model server starts this in the directory of the archive that it was asked to load, which nobody has looked at
yet. What is served is a copy that was verified, in the runtime directory (`store`), which workers of the same archive
share.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from driftserve.archive.reading import HANDLER_FILE, check_files_beside, find_archive, read_archive
from driftserve.bootstrap import configure_logging
from driftserve.errors import ArchiveError, DriftserveError, SettingsError
from driftserve.host.cgroup import available_memory_bytes
from driftserve.runtime.activity import forget_dead_workers, marked_workers
from driftserve.runtime.directory import SERVED_DIR_VARIABLE
from driftserve.runtime.store import hold, locked, scratch, sweep
from driftserve.settings import Settings
from driftserve.text import printable

logger = logging.getLogger(__name__)

_WORKER_BYTES = 300 << 20  # what Python, torch and a small graph take
_GRAPH_COPIES = 3  # the archive's bytes, while the graph is loaded and frozen
# The server's own loader turns this error into the status 507, at which SageMaker unloads other models.
_NO_MEMORY_SOURCE = "def handle(data, context):\n    raise MemoryError('there is no memory for another model')\n"
# The server's worker imports torch, 200 MB of it, and uses none of it to say no.
_NO_TORCH_SOURCE = '"""In the place of torch, where there is no memory for it."""\n'


def main(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the server's worker; exit with 1 where the archive is refused."""
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        served = served_directory(Path.cwd(), settings)
    except (DriftserveError, OSError) as error:
        sys.stderr.write(f"driftserve: {printable(' '.join(str(error).split()))}\n")
        sys.exit(1)
    _become_worker(served, arguments)


def served_directory(place: Path, settings: Settings) -> Path:
    """Where to serve the archive in a directory from: a verified copy, held for as long as this process lives.

    Where the memory would not do, it is a directory whose handler says so.

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
    if archive != place:
        check_files_beside(archive)
    store = settings.runtime_dir / "store"
    with locked(store):
        _, digest = read_archive(archive)
        sweep(store, spare=digest)
        if not reserve_memory(archive, settings.runtime_dir, available_memory_bytes()):
            return _no_memory_directory(store)
        served = store / digest if (store / digest).is_dir() else _verified_copy(archive, store, settings)
        hold(served)
    return served


def reserve_memory(archive: Path, runtime_dir: Path, free: int) -> bool:
    """Whether the memory of a worker is free, beside what others have begun to take; then it is this process's.

    Args:
        archive: a `.mar` file, or the directory that one was unpacked to.
        runtime_dir: where the workers leave their marks.
        free: the bytes that are free now.
    """
    forget_dead_workers(runtime_dir)
    beginning = runtime_dir / "beginning"  # a file a worker, with the bytes that it will take
    beginning.mkdir(exist_ok=True)
    loaded = marked_workers(runtime_dir)
    for mark in beginning.iterdir():
        if mark.name in loaded or not Path("/proc", mark.name).exists():
            mark.unlink()
    taken = sum(int(mark.read_text()) for mark in beginning.iterdir())
    needed = _WORKER_BYTES + _GRAPH_COPIES * _size(archive)
    if free < needed + taken:
        message = "%s: expected %d MiB of free memory, beside %d that others begin to take, got %d"
        logger.warning(message, archive, needed >> 20, taken >> 20, free >> 20)
        return False
    (beginning / str(os.getpid())).write_text(str(needed))  # `exec` keeps the process id
    return True


def _size(archive: Path) -> int:
    files = archive.rglob("*") if archive.is_dir() else [archive]
    return sum(path.stat().st_size for path in files)


def _no_memory_directory(store: Path) -> Path:
    directory = store / "no-memory"
    directory.mkdir(exist_ok=True)
    (directory / HANDLER_FILE).write_text(_NO_MEMORY_SOURCE)
    (directory / "torch.py").write_text(_NO_TORCH_SOURCE)
    return directory


def _verified_copy(archive: Path, store: Path, settings: Settings) -> Path:
    from driftserve.inference.verification import verify_archive  # torch, which takes seconds

    verified = verify_archive(archive, scratch(store), settings.archive_sha256)
    return verified.directory.replace(store / verified.digest)


def _become_worker(served: Path, arguments: Sequence[str]) -> NoReturn:
    os.chdir(served)
    environment = os.environ | {"PYTHONPATH": str(served), SERVED_DIR_VARIABLE: str(served)}
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
