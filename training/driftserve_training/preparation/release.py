"""Read a Label Studio release: the labels that annotators gave to images.

Two forms are known: the JSON export, which is a list of tasks; and the files of Label Studio's S3 storage, in a folder
or below a prefix, with one object per task (`<task>.json`) or per annotation (`<annotation>` without extension, which
contains the task).
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.sources.bucket import SCHEME, download_prefix, read_address

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class AnnotatedTask:
    """A task with the label that most annotators chose; `label` is None if the vote is tied."""

    task: int
    image: str
    """Address of the image in the task: s3://, /data/local-files/?d=, or a path relative to the release's folder."""
    label: str | None


@dataclass(frozen=True)
class Release:
    """The annotated tasks, sorted by number."""

    location: str
    folder: Path
    """Base folder of relative image paths."""
    tasks: tuple[AnnotatedTask, ...]


class _Result(BaseModel):
    type: str = ""
    value: dict[str, Any] = {}


class _Annotation(BaseModel):
    id: int = 0
    completed_by: int | str | dict[str, Any] | None = None
    result: list[_Result] = []
    was_cancelled: bool = False
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None

    @property
    def annotator(self) -> str:
        """Identifier of the annotator; an export may hold a number, an email address, or an object with both."""
        by = self.completed_by
        return str(by.get("id", by.get("email"))) if isinstance(by, dict) else str(by)

    @property
    def sort_key(self) -> tuple[datetime, int]:
        """Time of the last change, then the number of the annotation."""
        return self.updated_at or self.created_at or _LONG_AGO, self.id


class _Task(BaseModel):
    id: int
    data: dict[str, Any]
    annotations: list[_Annotation] = []


class _AnnotationWithTask(_Annotation):
    task: _Task


def read_release(location: str, labels: Collection[str], scratch: Path) -> Release:
    """Read the labels of a release. Annotations that were skipped or have no choice are ignored.

    The last annotation by each annotator counts. The label of a task is the one that most annotators chose.

    Args:
        location: a file, a folder, or `s3://<bucket>/<prefix>`.
        labels: the known classes.
        scratch: folder for downloads; it must outlive the release.

    Raises:
        DataError: the release cannot be read or is invalid, or a label is not a known class. The message names the
            file or the task.
    """
    path = Path(location)
    if location.startswith(SCHEME):
        path = scratch / "release"
        download_prefix(read_address(location), path, lambda _: True)
    elif not path.exists():
        raise DataError(f"{location}: expected a file, a folder or s3://<bucket>/<prefix>, got none; correct the path")
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if _is_record(file, path)]
    tasks = _merged(task for file in files for task in _read(file))
    if not tasks:
        raise DataError(f"{location}: expected tasks as Label Studio exports them, got none; export as JSON")
    annotated = (_annotated(task, labels, location) for task in tasks.values())
    folder = path.parent if path.is_file() else path
    return Release(location, folder, tuple(one for one in annotated if one is not None))


def _is_record(file: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.is_file() and file.suffix in ("", ".json") and not is_hidden


def _read(file: Path) -> Iterator[_Task]:
    try:
        content = json.loads(file.read_bytes())
        for record in content if isinstance(content, list) else [content]:
            if isinstance(record, dict) and isinstance(record.get("task"), dict):
                annotation = _AnnotationWithTask.model_validate(record)
                yield annotation.task.model_copy(update={"annotations": [annotation]})
            else:
                yield _Task.model_validate(record)
    except ValidationError as error:
        problem = first_problem(error)
        raise DataError(
            f"{file.name}: expected tasks or annotations as Label Studio exports them (JSON, not JSON-MIN); "
            f"{problem.place or 'the file'}: {problem.reason}; export again"
        ) from error
    except ValueError as error:
        raise DataError(f"{file.name} is not JSON from Label Studio: {error}; export again") from error


def _merged(tasks: Iterable[_Task]) -> Mapping[int, _Task]:
    """Merge the records of each task into one record with all annotations, sorted by task number."""
    merged: dict[int, _Task] = {}
    for task in tasks:
        earlier = merged[task.id].annotations if task.id in merged else []
        merged[task.id] = task.model_copy(update={"annotations": [*earlier, *task.annotations]})
    return {number: merged[number] for number in sorted(merged)}


def _annotated(task: _Task, labels: Collection[str], location: str) -> AnnotatedTask | None:
    last: dict[str, str] = {}
    for annotation in sorted(task.annotations, key=lambda annotation: annotation.sort_key):
        if not annotation.was_cancelled and annotation.result:
            last[annotation.annotator] = _choice(annotation, task, location)
    if not last:
        return None
    image = task.data.get("image")
    if not isinstance(image, str) or not image:
        raise DataError(f"{location}: task {task.id}: expected the image's address as data.image, got {image!r}")
    (label, votes), *others = Counter(last.values()).most_common()
    if others and others[0][1] == votes:
        return AnnotatedTask(task.id, image, None)
    if label not in labels:  # Label Studio accepts a choice that is not in its configuration
        raise DataError(
            f"{location}: task {task.id}: expected one of {', '.join(sorted(labels))}, got {label!r}; correct the "
            "annotation, or add the class to every split first"
        )
    return AnnotatedTask(task.id, image, label)


def _choice(annotation: _Annotation, task: _Task, location: str) -> str:
    choices = [
        choice for result in annotation.result if result.type == "choices" for choice in result.value.get("choices", [])
    ]
    if len(choices) != 1 or not isinstance(choices[0], str):
        raise DataError(
            f"{location}: task {task.id}: expected one choice in annotation {annotation.id}, got {choices}; "
            "correct the annotation"
        )
    return choices[0]
