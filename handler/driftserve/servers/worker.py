"""Starts a worker of a multi-model server: verifies the archive, then replaces itself by the server's own worker.

    python -I -m driftserve.servers.worker SCRIPT...

A multi-model server starts this program in the directory of the archive to load, which is not verified yet. SCRIPT and
what follows are the arguments for Python that start the server's own worker. The worker serves a verified copy in the
runtime directory (`store`), which all workers of the same archive share.
"""

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from driftserve.archive.reading import CONTRACT_FILE, HANDLER_FILE, check_files_beside, find_archive, read_archive
from driftserve.bootstrap import configure_logging
from driftserve.errors import ArchiveError, DriftserveError, SettingsError
from driftserve.host.cgroup import available_memory_bytes
from driftserve.host.process import started_at
from driftserve.runtime.activity import RESERVATIONS_DIRECTORY
from driftserve.runtime.directory import SERVED_DIR_VARIABLE, replace_file
from driftserve.runtime.store import hold, locked, scratch, sweep
from driftserve.settings import Settings
from driftserve.text import printable

logger = logging.getLogger(__name__)

_WORKER_BYTES = 300 << 20  # memory of a worker, for Python, torch and a small graph
_GRAPH_COPIES = 3  # additional memory while the graph is loaded and frozen, as a multiple of the archive's bytes
# The server's loader turns this error into the status 507, on which SageMaker unloads other models.
_NO_MEMORY_SOURCE = "def handle(data, context):\n    raise MemoryError('there is no memory for another model')\n"
# The server's worker imports torch, which takes 200 MB and is not needed to report the error.
_NO_TORCH_SOURCE = '"""Replaces torch, for which there is not enough memory."""\n'


def main(arguments: Sequence[str]) -> NoReturn:
    """Verify the archive, then replace this process by the server's worker; exit with status 1 on an error."""
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        served = served_directory(Path.cwd(), settings)
    except (DriftserveError, OSError) as error:
        sys.stderr.write(f"driftserve: {printable(' '.join(str(error).split()))}\n")
        sys.exit(1)
    _become_worker(served, arguments)


def served_directory(place: Path, settings: Settings) -> Path:
    """Return the directory of a verified copy of the archive in `place`; the copy is kept until this process ends.

    If there is not enough memory, return a directory whose handler raises MemoryError.

    Raises:
        ArchiveError: the archive is rejected, or is outside the allowed directories.
        SettingsError: there is no runtime directory.
    """
    if settings.runtime_dir is None:
        raise SettingsError("DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing; `driftserve serve` sets it")
    place = place.resolve()
    # The server unpacks a `.mar` from an allowed URL into the second of these directories.
    allowed = (settings.models_dir.resolve(), settings.runtime_dir.resolve() / "torchserve" / "models")
    if not any(place.is_relative_to(directory) for directory in allowed):
        raise ArchiveError(f"{place}: expected an archive below {settings.models_dir}; put it there")
    archive = find_archive(place)
    if archive != place:
        check_files_beside(archive)
    store = settings.runtime_dir / "store"
    with locked(store):
        contract, digest = read_archive(archive)
        sweep(store, spare=digest)
        if not reserve_memory(archive, settings.runtime_dir, available_memory_bytes()):
            return _no_memory_directory(store)
        served = store / digest
        if not all((served / name).is_file() for name in (CONTRACT_FILE, HANDLER_FILE, *contract.files)):
            shutil.rmtree(served, ignore_errors=True)  # a cleaner of old files has removed a part of it
            served = _verified_copy(archive, store, settings)
        hold(served)
    return served


def reserve_memory(archive: Path, runtime_dir: Path, free: int) -> bool:
    """Reserve memory for a worker; return False if the free memory, less the others' reservations, is too small.

    Args:
        archive: a `.mar` file, or the directory of an unpacked one.
        runtime_dir: the directory with the workers' reservations.
        free: number of bytes that are free now.
    """
    # One file per starting worker: the number of bytes that it will take, and when its process started.
    beginning = runtime_dir / RESERVATIONS_DIRECTORY
    beginning.mkdir(exist_ok=True)
    taken = sum(_reserved_bytes(mark) for mark in beginning.iterdir())
    needed = _WORKER_BYTES + _GRAPH_COPIES * _size(archive)
    if free < needed + taken:
        message = "%s: expected %d MiB of free memory, in addition to %d for other starting workers, got %d"
        logger.warning(message, archive, needed >> 20, taken >> 20, free >> 20)
        return False
    replace_file(beginning / str(os.getpid()), f"{needed} {started_at(os.getpid())}")  # `exec` changes neither
    return True


def _reserved_bytes(mark: Path) -> int:
    """Return the bytes that a starting worker has reserved; remove the file if the worker is dead, and return 0."""
    try:
        needed, started = map(int, mark.read_text().split())
        if started_at(mark.name) == started:
            return needed
    except FileNotFoundError:  # the worker has just loaded its model
        return 0
    except ValueError:  # not a whole reservation
        pass
    mark.unlink(missing_ok=True)
    return 0


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
    from driftserve.inference.verification import verify_archive  # imports torch, which takes seconds

    verified = verify_archive(archive, scratch(store), settings.archive_sha256)
    return verified.directory.replace(store / verified.digest)


def _become_worker(served: Path, arguments: Sequence[str]) -> NoReturn:
    os.chdir(served)
    environment = os.environ | {"PYTHONPATH": str(served), SERVED_DIR_VARIABLE: str(served)}
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
