"""What a monitor knows, as `driftserve status` shows it: a file in the runtime directory."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from driftserve.drift.report import DriftReport, Verdict
from driftserve.errors import MonitorNotFound
from driftserve.host.lock import is_locked
from driftserve.runtime.directory import MONITOR_LOCK_FILE, STATUS_FILE, replace_file


@dataclass(frozen=True)
class ModelStatus:
    """What is known of one model since the monitor started.

    `name` is the display name; `state` is DRIFT while the last window or the last long window drifted;
    `windows` and `long_windows` were full, `alarms` counts those of both that drifted. `observations` counts those
    that entered a window, of which `observations_in_window` wait for the next one to be full; `excluded` those
    that did not, by reason; `dropped` those that never arrived; `overrides` are those of `DriftReport`.
    """

    name: str
    state: Verdict
    windows: int
    long_windows: int
    alarms: int
    observations: int
    observations_in_window: int
    window_size: int
    excluded: Mapping[str, int]
    dropped: int
    overrides: tuple[str, ...]
    last_report: DriftReport | None
    last_long_report: DriftReport | None


@dataclass(frozen=True)
class Losses:
    """What the monitor itself could not use since it started.

    Observations of models without a contract; datagrams that came too fast, or that were none of
    ours; lines that could not be recorded.
    """

    unknown_model: int = 0
    queue_full: int = 0
    not_understood: int = 0
    not_recorded: int = 0


def write_status(runtime_dir: Path, models: Mapping[str, ModelStatus], lost: Losses) -> None:
    """Leave the monitor's status, for `driftserve status` to read; `models` by the archive's content digest."""
    document = {"models": {digest: asdict(model) for digest, model in models.items()}, "lost": asdict(lost)}
    replace_file(runtime_dir / STATUS_FILE, json.dumps(document))


def read_status(runtime_dir: Path) -> dict[str, Any]:
    """The status that the monitor wrote last, as the JSON object that it is.

    `models` maps each archive's content digest to its `ModelStatus`, `lost` holds the `Losses`, `silent_seconds`
    is how long ago the monitor showed that it lives; `models` alone, and empty, while the monitor starts.

    Raises:
        MonitorNotFound: no monitor runs in that directory.
    """
    if not is_locked(runtime_dir / MONITOR_LOCK_FILE):
        raise MonitorNotFound(f"{runtime_dir}: no monitor is running there; start one with `driftserve serve`")
    path = runtime_dir / STATUS_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        return document | {"silent_seconds": round(max(0.0, time.time() - path.stat().st_mtime), 1)}
    except FileNotFoundError:
        return {"models": {}}


def touch_status(runtime_dir: Path) -> None:
    """Show that the monitor lives, while there is nothing new to write."""
    os.utime(runtime_dir / STATUS_FILE)
