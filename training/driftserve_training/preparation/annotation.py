"""Merge the labels of annotators into a data set.

An annotated image is compared with the data set by its bytes:

- It is in train or val: the annotators' label replaces the label of the folder, and the image stays in its split.
- It is in test or stream: it keeps its label and split, so that scores stay comparable and no held-out image leaks. The
  annotation is listed as rejected.
- It is in no split: the image is new and goes to train, never to val or test.
- The vote on a task is tied, or two tasks with the same bytes have different labels: the label is unknown, so the image
  is removed from train and val and listed as rejected.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from driftserve.errors import DataError
from driftserve.images.decode import MEDIA_TYPES
from driftserve.images.header import format_of
from driftserve_training.configuration import STREAM
from driftserve_training.preparation.candidate import Candidate, Rejection, read_candidate
from driftserve_training.preparation.release import AnnotatedTask, Release
from driftserve_training.sources.bucket import SCHEME, download, read_address
from driftserve_training.sources.staging import to_relative_path

_LOCAL_FILES = "/data/local-files/"
_HELD_OUT = ("test", STREAM)
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "AVIF": ".avif"}  # of each format


@dataclass(frozen=True)
class MergeResult:
    """The candidates with the annotators' labels, the rejections, and how many images were relabelled or added."""

    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
    relabelled: int
    added: int


def merge(candidates: Iterable[Candidate], release: Release, smallest: int, scratch: Path) -> MergeResult:
    """Merge a release into the candidates, by the rules of this module.

    Args:
        candidates: the images of the folders.
        release: the annotations.
        smallest: minimum length of the shorter side of a new image, in pixels.
        scratch: folder for downloaded images; it must outlive the candidates.

    Raises:
        DataError: an image of a task is missing, or is outside the release's folder.
    """
    by_digest: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_digest[candidate.sha256].append(candidate)
    rejections: list[Rejection] = []
    relabelled = added = 0
    for annotated in _images(release, smallest, scratch):
        first = annotated[0]
        present = by_digest[first.sha256]
        if held_out := next((candidate for candidate in present if candidate.split in _HELD_OUT), None):
            reason = f"the same bytes as {held_out.name}, which keeps its label because it is in {held_out.split}"
            rejections += [Rejection(one.name, reason) for one in annotated]
        elif any(not one.label for one in annotated) or len({one.label for one in annotated}) > 1:
            rejections += [Rejection(one.name, "annotators disagree on its label") for one in [*present, *annotated]]
            by_digest[first.sha256] = []
        elif present:
            by_digest[first.sha256] = [_relabelled(one, first.label) for one in present]
            relabelled += by_digest[first.sha256] != present
        else:
            by_digest[first.sha256] = [first]
            added += 1
    merged = tuple(candidate for same in by_digest.values() for candidate in same)
    return MergeResult(merged, tuple(rejections), relabelled, added)


def _images(release: Release, smallest: int, scratch: Path) -> Iterable[Sequence[Candidate]]:
    """Read the annotated images, grouped by their bytes; the label is empty if the vote is tied."""
    files = _files(release, scratch)
    by_digest: defaultdict[str, list[Candidate]] = defaultdict(list)
    for task in release.tasks:
        name = f"{task.image} (task {task.task})"
        image = read_candidate(files[task.task], name, "train", task.label or "", smallest)
        by_digest[image.sha256].append(_new(image))
    return by_digest.values()


def _relabelled(candidate: Candidate, label: str) -> Candidate:
    if candidate.label == label:
        return candidate
    return replace(candidate, label=label, file_name=_unique_name(candidate, candidate.file.suffix))


def _new(candidate: Candidate) -> Candidate:
    """Return the candidate marked as new, with an image suffix: the name of an S3 object may have none."""
    suffix: str | None = candidate.file.suffix
    if not candidate.problem and candidate.file.suffix.lower() not in MEDIA_TYPES:
        kind = format_of(candidate.file.read_bytes())
        suffix = _SUFFIXES.get(kind)
        if suffix is None:
            candidate = replace(candidate, problem=f"expected one of {', '.join(_SUFFIXES)}, got {kind}")
    return replace(candidate, is_new=True, file_name=_unique_name(candidate, suffix or ""))


def _unique_name(candidate: Candidate, suffix: str) -> str:
    """Add the digest to the file name, because the folder of the new label may already have a file of that name."""
    return f"{candidate.file.stem}-{candidate.sha256[:16]}{suffix}"


def _files(release: Release, scratch: Path) -> Mapping[int, Path]:
    """Download the images that are in S3; return the image file of each task by the task's number."""
    files: dict[int, Path] = {}
    remote = []
    for task in release.tasks:
        if task.image.startswith(SCHEME):
            address = read_address(task.image)
            name = to_relative_path(address.key, f"{release.location}: task {task.task}").name
            files[task.task] = scratch / "annotated" / str(task.task) / name
            remote.append((address, files[task.task]))
        else:
            files[task.task] = _local_file(task, release)
    download(remote)
    return files


def _local_file(task: AnnotatedTask, release: Release) -> Path:
    name, origin = task.image, f"{release.location}: task {task.task}"
    if name.startswith(_LOCAL_FILES):
        (name,) = parse_qs(urlsplit(name).query).get("d", [""])[:1]
    file = release.folder / to_relative_path(name, origin)
    if not file.is_file():
        raise DataError(f"{origin}: expected the image {task.image!r} in the release's folder, got none; put it there")
    return file
