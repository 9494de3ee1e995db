"""The runtime directory, which the processes of one container, or of one `serve`, share.

.driftserve            shows that driftserve made the directory, and may delete files in it (`claim`)
observations.sock      the monitor's end of the channel
server.lock            locked while a supervisor runs; the kernel unlocks it when the supervisor dies
monitor.lock           locked while a monitor runs, in the same way
status.json            what `driftserve status` shows; written after new observations, otherwise only its time changes
models/<key>.json      the contract of each served model (`archive.served`), written by the workers that serve it
models/<key>.calibration  how much the model's images depend on each other, written by the monitor (`calibrations`)
models/<key>.unloaded  exists for a moment, to tell the monitor that the model is no longer served
workers/<process id>   locked while that worker is busy (`activity`)
store/model/           the unpacked archive that is served; store/<digest>/ in multi-model mode
torchserve/, mms/      the server's own configuration, sockets and temporary files
"""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import BinaryIO

from driftserve.archive.contract import Contract, contract_from_json, contract_to_json
from driftserve.errors import ArchiveError, MonitorError, MonitorNotFound, SettingsError
from driftserve.host.claim import claim, mark
from driftserve.host.lock import is_locked, try_lock
from driftserve.host.private import check_private, open_private, read_regular
from driftserve.host.temporary import temporary_directory

logger = logging.getLogger(__name__)

# This variable holds the directory that a worker of a multi-model server serves from; `worker` sets it.
SERVED_DIR_VARIABLE = "SERVED_MODEL_DIR"
_SERVER_LOCK_FILE = "server.lock"
MONITOR_LOCK_FILE = "monitor.lock"
STATUS_FILE = "status.json"
_MOST_CONTRACT_BYTES = 64 << 20
_LOCK_TRIES = 20
_LOCK_TRY_SECONDS = 0.05
# sockaddr_un.sun_path takes 107 bytes on Linux. The longest socket path is torchserve/management.sock.
MAX_RUNTIME_PATH_BYTES = 107 - len("/torchserve/management.sock")
MODELS_DIRECTORY = "models"
_UNLOADED = ".unloaded"


def runtime_root() -> Path:
    """Return the parent of this user's runtime directories. Each server's directory is named by its process id."""
    return temporary_directory() / f"driftserve-{os.getuid()}"


def write_contract(runtime_dir: Path, key: str, contract: Contract) -> None:
    """Write a served model's contract for the monitor to read."""
    _claim(runtime_dir)
    models = runtime_dir / MODELS_DIRECTORY
    models.mkdir(exist_ok=True)
    replace_file(models / f"{key}.json", contract_to_json(contract))
    (models / f"{key}{_UNLOADED}").unlink(missing_ok=True)


def find_contract(runtime_dir: Path, key: str) -> Contract | None:
    """Return the contract that a worker wrote, or None while no readable one exists."""
    path = runtime_dir / MODELS_DIRECTORY / f"{key}.json"
    try:
        return contract_from_json(read_regular(path, _MOST_CONTRACT_BYTES)[0])
    except FileNotFoundError:
        return None
    except (ArchiveError, OSError):
        logger.exception("%s cannot be read", path)
        return None


def forget_contract(runtime_dir: Path, key: str) -> None:
    """Remove the contract of a model that is no longer served, and tell the monitor.

    A contract that is only missing is not enough: somebody may have removed old files.
    """
    models = runtime_dir / MODELS_DIRECTORY
    models.mkdir(exist_ok=True)
    (models / f"{key}{_UNLOADED}").touch()
    (models / f"{key}.json").unlink(missing_ok=True)


def unloaded_keys(runtime_dir: Path) -> set[str]:
    """Return the keys of models that are no longer served, and that the monitor has not dropped yet."""
    found = {path.stem for path in (runtime_dir / MODELS_DIRECTORY).glob(f"*{_UNLOADED}")}
    return found - known_keys(runtime_dir)


def forget_unloaded(runtime_dir: Path, keys: Iterable[str]) -> None:
    """Remove the files that tell the monitor to drop these models."""
    for key in keys:
        (runtime_dir / MODELS_DIRECTORY / f"{key}{_UNLOADED}").unlink(missing_ok=True)


def known_keys(runtime_dir: Path) -> set[str]:
    """Return the keys of the models whose contracts are in the runtime directory."""
    return {path.stem for path in (runtime_dir / MODELS_DIRECTORY).glob("*.json")}


class RuntimeLock:
    """A lock of a runtime directory, until `close`.

    Raises:
        MonitorError: Another process has the lock. The message ends with `refusal`.
    """

    def __init__(self, path: Path, refusal: str) -> None:
        self.directory = path.parent
        self._path = path
        self._refusal = refusal
        self._files = [_lock(path, refusal)]

    def restore(self) -> None:
        """Create and lock the file again if somebody removed it; the same for the directory and its mark."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark(self.directory)
        if not self._path.exists():
            self._files.append(_lock(self._path, self._refusal))

    def close(self) -> None:
        """Release the lock."""
        for file in self._files:
            file.close()

    def __enter__(self) -> "RuntimeLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock_runtime(runtime_dir: Path) -> RuntimeLock:
    """Lock the directory for a monitor until the returned lock is closed.

    Raises:
        MonitorError: Another monitor already runs in the directory.
        DataError: The directory has files, and driftserve did not make it.
    """
    _claim(runtime_dir)
    lock = RuntimeLock(runtime_dir / MONITOR_LOCK_FILE, "another monitor is running there; stop it first")
    (runtime_dir / STATUS_FILE).unlink(missing_ok=True)  # a dead monitor's status would look like this one's
    return lock


def make_runtime(runtime_dir: Path) -> RuntimeLock:
    """Create a server's runtime directory, for this user only. Lock it until the returned lock is closed.

    Raises:
        MonitorError: Another server uses the directory.
        SettingsError: The path is too long for the sockets in it, a file is there, or other users can write to the
            directory.
        DataError: The directory has files, and driftserve did not make it.
    """
    if len(str(runtime_dir).encode()) > MAX_RUNTIME_PATH_BYTES:
        raise SettingsError(
            f"DRIFTSERVE_RUNTIME_DIR: expected a path of at most {MAX_RUNTIME_PATH_BYTES} bytes, because sockets are "
            f"in it, got {runtime_dir}"
        )
    try:
        runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(
            f"DRIFTSERVE_RUNTIME_DIR: expected a directory, got {runtime_dir}, where a file is; choose another"
        ) from error
    _check_ownership(runtime_dir)
    _claim(runtime_dir)
    refusal = "another server is running there; stop it, or choose another directory"
    _lock(runtime_dir / MONITOR_LOCK_FILE, refusal).close()  # the monitor of a killed server may still be stopping
    return RuntimeLock(runtime_dir / _SERVER_LOCK_FILE, refusal)


def check_apart(places: Mapping[str, Path]) -> None:
    """Check that no directory is another one, or inside of it.

    Args:
        places: the directories or files, by the setting that names each.

    Raises:
        SettingsError: Two of them overlap.
    """
    for (name, place), (other_name, other) in combinations(places.items(), 2):
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise SettingsError(
                f"{name}: expected a directory apart from {other_name}, {other}, got {place}; "
                "files of one could be deleted as files of the other; choose another"
            )


def _claim(runtime_dir: Path) -> None:
    runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    claim(runtime_dir, "set DRIFTSERVE_RUNTIME_DIR to another", earlier=(_SERVER_LOCK_FILE, MONITOR_LOCK_FILE))


def _check_ownership(directory: Path) -> None:
    """Check that no other user can put a model or socket into a directory."""
    check_private(directory, "set DRIFTSERVE_RUNTIME_DIR or TMPDIR to another")


def own_runtime_dir() -> Path:
    """Return the default runtime directory of this process; first remove the directories of killed supervisors.

    Raises:
        SettingsError: Other users can write to the parent directory.
    """
    root = runtime_root()
    root.mkdir(mode=0o700, exist_ok=True)
    _check_ownership(root)
    _sweep(root)
    return root.resolve() / str(os.getpid())


def _sweep(root: Path) -> None:
    """Remove the runtime directories of killed supervisors, with their unpacked models."""
    for directory in root.glob("*"):
        name = directory.name
        is_dead = name.isdecimal() and not Path("/proc", name).exists()
        if is_dead and not any(is_locked(directory / lock) for lock in (_SERVER_LOCK_FILE, MONITOR_LOCK_FILE)):
            shutil.rmtree(directory, ignore_errors=True)


def find_runtime() -> Path:
    """Return the runtime directory of the only monitor that is running.

    Raises:
        MonitorNotFound: No monitor is running, or more than one.
        SettingsError: The directory of this user's servers could be another user's.
    """
    root = runtime_root()
    if root.is_symlink() or root.exists():
        _check_ownership(root)
    running = sorted(lock.parent for lock in root.glob(f"*/{MONITOR_LOCK_FILE}") if is_locked(lock))
    if not running:
        raise MonitorNotFound(
            f"no monitor is running below {root}; start one with `driftserve serve`, or give the --runtime-dir of a "
            "running one"
        )
    if len(running) > 1:
        listed = "".join(f"\n  --runtime-dir {directory}" for directory in running)
        raise MonitorNotFound(f"{len(running)} monitors are running; choose one:{listed}")
    return running[0]


def _lock(path: Path, refusal: str) -> BinaryIO:
    lock = open_private(path, os.O_RDWR)
    for _ in range(_LOCK_TRIES):  # a process that only checks the lock holds it for a moment
        if try_lock(lock):
            return lock
        time.sleep(_LOCK_TRY_SECONDS)
    lock.close()
    raise MonitorError(f"{path.parent}: {refusal}")


def replace_file(path: Path, text: str) -> None:
    """Replace a file's text atomically: a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
