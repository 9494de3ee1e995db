"""Writes and reads the monitor's status file in the runtime directory, which `driftserve status` shows."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from driftserve.drift.report import Calibration, DriftReport, Verdict
from driftserve.errors import MonitorError, MonitorNotFound
from driftserve.host.lock import is_locked
from driftserve.host.private import read_regular
from driftserve.runtime.directory import MONITOR_LOCK_FILE, STATUS_FILE, replace_file
from driftserve.text import one_line
from driftserve.validation import first_problem


@dataclass(frozen=True)
class ModelStatus:
    """The status of one model. All counts are since the monitor started.

    `name` is the display name (`archive.served`). `state` is DRIFT if the last window or the last long window drifted.
    `windows` and `long_windows` count full windows, and `alarms` counts the drifted windows of both kinds.
    `observations` counts the observations that entered a window; `observations_in_window` counts those in the current
    window. `excluded` counts the observations that entered no window, by reason. `dropped` counts observations that
    never arrived. `overrides` is as in `DriftReport`, and `calibration` that of the next window.
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
    calibration: Calibration
    last_report: DriftReport | None
    last_long_report: DriftReport | None


@dataclass(frozen=True)
class Losses:
    """What the monitor itself has lost since it started.

    `unknown_model` counts observations of models without a contract. `queue_full` counts datagrams that came too fast,
    `not_understood` invalid datagrams. `not_recorded` counts lines that could not be recorded.
    """

    unknown_model: int = 0
    queue_full: int = 0
    not_understood: int = 0
    not_recorded: int = 0


_MODELS = TypeAdapter(dict[str, ModelStatus])
_LOST = TypeAdapter(Losses)
_MOST_BYTES = 64 << 20


def write_status(runtime_dir: Path, models: Mapping[str, ModelStatus], lost: Losses) -> None:
    """Write the monitor's status for `driftserve status`; the keys of `models` are those of served models."""
    document = {"models": {key: asdict(model) for key, model in models.items()}, "lost": asdict(lost)}
    replace_file(runtime_dir / STATUS_FILE, json.dumps(document))


def read_status(runtime_dir: Path) -> dict[str, Any]:
    """Return the monitor's last status as a JSON object.

    `models` maps the key of each served model to a `ModelStatus`. `lost` has the `Losses`. `silent_seconds` is
    the time since the monitor last showed that it is alive. While the monitor starts, there is only an empty `models`.

    Raises:
        MonitorNotFound: No monitor runs in that directory.
        MonitorError: The status file is damaged.
    """
    if not is_locked(runtime_dir / MONITOR_LOCK_FILE):
        raise MonitorNotFound(f"{runtime_dir}: no monitor is running there; start one with `driftserve serve`")
    path = runtime_dir / STATUS_FILE
    try:
        content, written_at = read_regular(path, _MOST_BYTES)
        document: dict[str, Any] = json.loads(content)
        _MODELS.validate_python(document["models"])
        _LOST.validate_python(document["lost"])
    except FileNotFoundError:
        return {"models": {}}
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise MonitorError(
            f"{path}: expected the status of a monitor, got {_reason(error)}; "
            "remove the file, and the monitor writes it again"
        ) from error
    return document | {"silent_seconds": round(max(0.0, time.time() - written_at), 1)}


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = first_problem(error)
        return f"{problem.place}: {problem.reason}"
    return f"{type(error).__name__}: {one_line(error)}"


def touch_status(runtime_dir: Path) -> None:
    """Update the status file's time, which shows that the monitor is alive when it has nothing new to write.

    Raises:
        FileNotFoundError: Somebody removed the file.
    """
    os.utime(runtime_dir / STATUS_FILE)
