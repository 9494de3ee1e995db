"""Choose the pictures for a run in containers: the first ones of each folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from driftserve_pipeline.errors import PipelineError


@dataclass(frozen=True)
class Chosen:
    """The chosen files by their path below the folder, and the number of all files there."""

    files: Mapping[str, Path]
    there: int


def choose(folder: Path, per_folder: int) -> Chosen:
    """Return the first files of each folder at any depth. The layout does not matter, because Fetch interprets it.

    Raises:
        PipelineError: there is no file, or a folder is empty. In S3, empty folders do not exist.
    """
    files: dict[str, Path] = {}
    there = 0
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))  # Fetch skips these too
        shown = sorted(name for name in names if not name.startswith("."))
        if not shown and not folders:
            raise PipelineError(f"{place}: expected images, got an empty folder; add some, or remove it")
        files |= {Path(place, name).relative_to(folder).as_posix(): Path(place, name) for name in shown[:per_folder]}
        there += len(shown)
    if not files:
        raise PipelineError(f"{folder}: expected a folder with train/ and test/, each <class>/<image>, got no image")
    return Chosen(files, there)
