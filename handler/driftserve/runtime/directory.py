"""The runtime directory: where the processes of one container, or of one `serve`, meet.

observations.sock      the monitor's end of the channel
server.lock            locked while a supervisor lives; the kernel unlocks it when it dies
monitor.lock           likewise, while a monitor lives
status.json            what `driftserve status` shows, rewritten as observations come in, touched between
models/<digest>.json   the contract of each model, left there by the workers that serve it
workers/<process id>   locked while that worker is at work (`activity`)
store/model/           the unpacked archive that is served; store/<digest>/ in multi-model mode
torchserve/, mms/      the server's own configuration, sockets and temporary files
"""

import fcntl
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from driftserve.archive.contract import Contract, contract_from_json, contract_to_json
from driftserve.drift.report import Losses, ModelStatus
from driftserve.errors import ArchiveError, MonitorError, MonitorNotFound, SettingsError

logger = logging.getLogger(__name__)

# Names the directory that a worker of a multi-model server serves from; `worker` sets it.
SERVED_DIR_VARIABLE = "SERVED_MODEL_DIR"
_SERVER_LOCK_FILE = "server.lock"
_LOCK_FILE = "monitor.lock"
_STATUS_FILE = "status.json"
_LOCK_TRIES = 20
# sockaddr_un.sun_path takes 107 bytes on Linux; the longest socket is torchserve/management.sock
MAX_RUNTIME_PATH_BYTES = 107 - len("/torchserve/management.sock")
_MODELS_DIRECTORY = "models"


def runtime_root() -> Path:
    """Where the runtime directories of this user's servers are: one a server, named by its process id."""
    return Path(tempfile.gettempdir(), f"driftserve-{os.getuid()}")


def write_contract(runtime_dir: Path, digest: str, contract: Contract) -> None:
    """Leave a model's contract for the monitor."""
    models = runtime_dir / _MODELS_DIRECTORY
    models.mkdir(parents=True, exist_ok=True)
    _replace(models / f"{digest}.json", contract_to_json(contract))


def find_contract(runtime_dir: Path, digest: str) -> Contract | None:
    """The contract that a worker left, or None while there is none that can be read."""
    path = runtime_dir / _MODELS_DIRECTORY / f"{digest}.json"
    try:
        return contract_from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ArchiveError, OSError):
        logger.exception("%s cannot be read", path)
        return None


def forget_contract(runtime_dir: Path, digest: str) -> None:
    """Remove the contract of a model that is served no more."""
    (runtime_dir / _MODELS_DIRECTORY / f"{digest}.json").unlink(missing_ok=True)


def known_digests(runtime_dir: Path) -> set[str]:
    """The content digests of the models whose contracts workers left."""
    return {path.stem for path in (runtime_dir / _MODELS_DIRECTORY).glob("*.json")}


def write_status(runtime_dir: Path, models: Mapping[str, ModelStatus], lost: Losses) -> None:
    """Leave the monitor's status, for `driftserve status` to read; `models` by the archive's content digest."""
    document = {"models": {digest: asdict(model) for digest, model in models.items()}, "lost": asdict(lost)}
    _replace(runtime_dir / _STATUS_FILE, json.dumps(document))


def read_status(runtime_dir: Path) -> dict[str, Any]:
    """The status that the monitor wrote last, as the JSON object that it is.

    `models` maps each archive's content digest to its `ModelStatus`, `lost` holds the `Losses`, `silent_seconds`
    is how long ago the monitor showed that it lives; `models` alone, and empty, while the monitor starts.

    Raises:
        MonitorNotFound: no monitor runs in that directory.
    """
    if not _is_locked(runtime_dir / _LOCK_FILE):
        raise MonitorNotFound(f"{runtime_dir}: no monitor is running there; start one with `driftserve serve`")
    path = runtime_dir / _STATUS_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        return document | {"silent_seconds": round(max(0.0, time.time() - path.stat().st_mtime), 1)}
    except FileNotFoundError:
        return {"models": {}}


def touch_status(runtime_dir: Path) -> None:
    """Show that the monitor lives, while there is nothing new to write."""
    os.utime(runtime_dir / _STATUS_FILE)


def lock_runtime(runtime_dir: Path) -> TextIO:
    """Mark the directory as a living monitor's, for as long as the file given back is open.

    Raises:
        MonitorError: another monitor runs in it already.
    """
    runtime_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(runtime_dir / _LOCK_FILE, "another monitor is running there; stop it first")
    (runtime_dir / _STATUS_FILE).unlink(missing_ok=True)  # of a monitor that died; it would pass for this one's
    return lock


def make_runtime(runtime_dir: Path) -> TextIO:
    """Make a server's runtime directory, for this user only; it is taken for as long as the file given back is open.

    Raises:
        MonitorError: another server uses the directory.
        SettingsError: its path is too long for the sockets in it, or others could write there.
    """
    if len(str(runtime_dir).encode()) > MAX_RUNTIME_PATH_BYTES:
        raise SettingsError(
            f"DRIFTSERVE_RUNTIME_DIR: expected a path of at most {MAX_RUNTIME_PATH_BYTES} bytes, for its sockets, "
            f"got {runtime_dir}"
        )
    runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_strangers(runtime_dir)
    refusal = "another server is running there; stop it, or choose another directory"
    _lock(runtime_dir / _LOCK_FILE, refusal).close()  # the monitor of a server that was killed may still be ending
    return _lock(runtime_dir / _SERVER_LOCK_FILE, refusal)


def _refuse_strangers(directory: Path) -> None:
    """Pass if nobody else can put another model or socket into a directory."""
    found = directory.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise SettingsError(
            f"{directory}: expected a directory of this user that no other can write to, got "
            f"{stat.filemode(found.st_mode)} of user {found.st_uid}; set DRIFTSERVE_RUNTIME_DIR or TMPDIR to another"
        )


def own_runtime_dir() -> Path:
    """Where a server that was given no directory makes its own, once those of killed supervisors are removed.

    Raises:
        SettingsError: the directory of them all is not this user's alone.
    """
    root = runtime_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_strangers(root)
    _sweep(root)
    return root.resolve() / str(os.getpid())


def _sweep(root: Path) -> None:
    """Remove what supervisors that were killed have left: their runtime directories, with unpacked models."""
    for directory in root.glob("*"):
        name = directory.name
        is_dead = name.isdecimal() and not Path("/proc", name).exists()
        if is_dead and not any(_is_locked(directory / lock) for lock in (_SERVER_LOCK_FILE, _LOCK_FILE)):
            shutil.rmtree(directory, ignore_errors=True)


def find_runtime() -> Path:
    """The runtime directory of the one monitor that is running.

    Raises:
        MonitorNotFound: none is running, or several are.
    """
    root = runtime_root()
    running = sorted(lock.parent for lock in root.glob(f"*/{_LOCK_FILE}") if _is_locked(lock))
    if not running:
        raise MonitorNotFound("no monitor is running; start one with `driftserve serve`")
    if len(running) > 1:
        listed = "".join(f"\n  --runtime-dir {directory}" for directory in running)
        raise MonitorNotFound(f"{len(running)} monitors are running; choose one:{listed}")
    return running[0]


def _lock(path: Path, refusal: str) -> TextIO:
    lock = path.open("w")
    for _ in range(_LOCK_TRIES):  # who only looks whether it is free holds it for a moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return lock
    lock.close()
    raise MonitorError(f"{path.parent}: {refusal}")


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
