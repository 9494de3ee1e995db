"""The runtime directory: where the processes of one container, or of one `serve`, meet.

observations.sock      the monitor's end of the channel
monitor.lock           locked while a monitor lives; the kernel unlocks it when it dies
status.json            what `driftserve status` shows, rewritten as observations come in
models/<digest>.json   the contract of each model, left there by the workers that serve it
"""

import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from driftserve.contract import Contract, contract_from_json, contract_to_json
from driftserve.errors import ArchiveError, MonitorError, MonitorNotFound, SettingsError
from driftserve.report import ModelStatus

logger = logging.getLogger(__name__)

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


def write_status(runtime_dir: Path, status: Mapping[str, ModelStatus]) -> None:
    """Leave the monitor's status, for `driftserve status` to read."""
    document = {"models": {name: asdict(model) for name, model in status.items()}}
    _replace(runtime_dir / _STATUS_FILE, json.dumps(document))


def read_status(runtime_dir: Path) -> dict[str, dict[str, dict[str, object]]]:
    """The status that the monitor wrote last, as the JSON object that it is.

    Raises:
        MonitorNotFound: no monitor runs in that directory.
    """
    if not _is_locked(runtime_dir / _LOCK_FILE):
        raise MonitorNotFound(f"{runtime_dir}: no monitor is running there; start one with `driftserve serve`")
    try:
        document: dict[str, dict[str, dict[str, object]]] = json.loads((runtime_dir / _STATUS_FILE).read_text())
    except FileNotFoundError:
        return {"models": {}}
    return document


def lock_runtime(runtime_dir: Path) -> TextIO:
    """Mark the directory as a living monitor's, for as long as the file given back is open.

    Raises:
        MonitorError: another monitor runs in it already.
    """
    runtime_dir.mkdir(parents=True, exist_ok=True)
    lock = (runtime_dir / _LOCK_FILE).open("w")
    for _ in range(_LOCK_TRIES):  # `driftserve status` holds the lock for a moment to see whether it is free
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return lock
    lock.close()
    raise MonitorError(f"{runtime_dir}: another monitor is running there; stop it first")


def make_runtime(runtime_dir: Path) -> None:
    """Make a server's runtime directory, for this user only.

    Raises:
        MonitorError: another server uses the directory.
        SettingsError: its path is too long for the sockets in it.
    """
    if len(str(runtime_dir).encode()) > MAX_RUNTIME_PATH_BYTES:
        raise SettingsError(
            f"DRIFTSERVE_RUNTIME_DIR: expected a path of at most {MAX_RUNTIME_PATH_BYTES} bytes, for its sockets, "
            f"got {runtime_dir}"
        )
    if _is_locked(runtime_dir / _LOCK_FILE):
        raise MonitorError(f"{runtime_dir}: another server is running there; stop it, or choose another directory")
    runtime_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime_dir.mkdir(mode=0o700, exist_ok=True)


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
