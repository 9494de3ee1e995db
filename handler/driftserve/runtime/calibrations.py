"""Keeps the calibrations of a server's models in its runtime directory, for a monitor that is started again."""

import logging
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import to_json

from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.host.private import read_regular
from driftserve.runtime.directory import MODELS_DIRECTORY, replace_file

logger = logging.getLogger(__name__)

_CALIBRATION = TypeAdapter(CalibrationProgress)
_MOST_BYTES = 16 << 20


def write_calibration(runtime_dir: Path, key: str, progress: CalibrationProgress) -> None:
    """Write the calibration of a model's watch."""
    replace_file(_path(runtime_dir, key), to_json(asdict(progress)).decode())


def find_calibration(runtime_dir: Path, key: str) -> CalibrationProgress:
    """Return the calibration that an earlier monitor of this server wrote, or the beginning of one."""
    path = _path(runtime_dir, key)
    try:
        return _CALIBRATION.validate_json(read_regular(path, _MOST_BYTES)[0])
    except FileNotFoundError:
        return NOT_CALIBRATED
    except (OSError, ValueError):
        logger.exception("%s cannot be read: the calibration begins again", path)
        return NOT_CALIBRATED


def _path(runtime_dir: Path, key: str) -> Path:
    return runtime_dir / MODELS_DIRECTORY / f"{key}.calibration"
