"""What has ended of an execution, kept in its folder: a run that was cut off goes on from there."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.local.run import Result


@dataclass(frozen=True)
class Ended:
    """A step that has ended well: what it was told, what it made."""

    step: str
    kind: str
    arguments: Mapping[str, Any]
    made: Mapping[str, Any]
    seconds: float
    at: float
    """When, in seconds since 1970."""


class Journal:
    """The records of one execution; each is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ended").mkdir(parents=True, exist_ok=True)

    def step_folder(self, name: str) -> Path:
        """The folder of a step's files."""
        folder = self.folder / "steps" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def ended(self, name: str, arguments: Mapping[str, Any]) -> Ended | None:
        """The record of a step that has ended with the same arguments."""
        path = self._path(name)
        if not path.is_file():
            return None
        record = Ended(**json.loads(path.read_text()))
        return record if record.arguments == arguments else None

    def all_ended(self) -> list[Ended]:
        """The records of all steps."""
        return [Ended(**json.loads(path.read_text())) for path in (self.folder / "ended").glob("*.json")]

    def write(self, record: Ended) -> None:
        """Keep the record of a step."""
        _write(self._path(record.step), asdict(record))

    def result(self) -> tuple[int, Result] | None:
        """When the execution ended last, in ns, and how; None where it has not, or goes on."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        return path.stat().st_mtime_ns, Result(**json.loads(path.read_text()))

    def write_result(self, result: Result) -> None:
        """Keep how the execution ended."""
        _write(self.folder / "result.json", asdict(result))

    def forget(self) -> None:
        """The execution begins anew."""
        shutil.rmtree(self.folder)
        (self.folder / "ended").mkdir(parents=True)

    def forget_result(self) -> None:
        """The execution goes on."""
        (self.folder / "result.json").unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / "ended" / f"{name}.json"


def _write(path: Path, content: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2))
    part.replace(path)
