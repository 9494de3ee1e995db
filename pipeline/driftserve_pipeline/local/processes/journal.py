"""Record the finished steps of an execution in its folder, so that an interrupted run can continue."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.local.run import Result


@dataclass(frozen=True)
class Ended:
    """A step that succeeded: its arguments and its results."""

    step: str
    kind: str
    arguments: Mapping[str, Any]
    made: Mapping[str, Any]
    seconds: float
    at: float
    """When the step ended, in seconds since 1970."""


class Journal:
    """The records of one execution. Each one is written atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ended").mkdir(parents=True, exist_ok=True)

    def step_folder(self, name: str) -> Path:
        """Return the folder of a step's files."""
        folder = self.folder / "steps" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def ended(self, name: str, arguments: Mapping[str, Any]) -> Ended | None:
        """Return the record of a step that succeeded with the same arguments, or None."""
        path = self._path(name)
        if not path.is_file():
            return None
        record = Ended(**json.loads(path.read_text()))
        return record if record.arguments == arguments else None

    def all_ended(self) -> list[Ended]:
        """Return the records of all steps."""
        return [Ended(**json.loads(path.read_text())) for path in (self.folder / "ended").glob("*.json")]

    def write(self, record: Ended) -> None:
        """Store the record of a step."""
        _write(self._path(record.step), asdict(record))

    def result(self) -> tuple[int, Result] | None:
        """Return when the execution last ended, in ns since 1970, and its result; None if it has not ended yet."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        return path.stat().st_mtime_ns, Result(**json.loads(path.read_text()))

    def write_result(self, result: Result) -> None:
        """Store the result of the execution."""
        _write(self.folder / "result.json", asdict(result))

    def forget(self) -> None:
        """Delete all records, so that the execution starts from its first step."""
        shutil.rmtree(self.folder)
        (self.folder / "ended").mkdir(parents=True)

    def forget_result(self) -> None:
        """Delete the result, because the execution continues."""
        (self.folder / "result.json").unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / "ended" / f"{name}.json"


def _write(path: Path, content: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2))
    part.replace(path)
