"""The images on this machine that a run in containers takes: of each folder the first."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from driftserve_pipeline.errors import PipelineError


@dataclass(frozen=True)
class Chosen:
    """Files by their names below the folder, and how many there were to choose from."""

    files: Mapping[str, Path]
    there: int


def choose(folder: Path, per_folder: int) -> Chosen:
    """The first files of each folder at any depth, whatever the layout: Fetch reads it as it reads S3's.

    Raises:
        PipelineError: there is none, or a folder is empty, which in S3 would not be there at all.
    """
    files: dict[str, Path] = {}
    there = 0
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))  # as Fetch looks into them
        shown = sorted(name for name in names if not name.startswith("."))
        if not shown and not folders:
            raise PipelineError(f"{place}: expected images, got an empty folder; add some, or remove it")
        files |= {Path(place, name).relative_to(folder).as_posix(): Path(place, name) for name in shown[:per_folder]}
        there += len(shown)
    if not files:
        raise PipelineError(f"{folder}: expected a folder with train/ and test/, each <class>/<image>, got no image")
    return Chosen(files, there)
