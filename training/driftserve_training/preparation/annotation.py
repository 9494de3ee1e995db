"""What annotators say, merged into a data set's labels.

The rules, by the image's bytes:

- in train or val: the annotators' label replaces the folder's, and the image stays in its split;
- in test or stream: it is left as it is and listed, so that scores stay comparable and no held-out image leaks;
- in none of them: the image is new and goes to train, never to val or test;
- annotators divided, over a task or over two tasks of the same bytes: nobody knows the label, so the image is left out
  of train and val and listed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from driftserve.errors import DataError
from driftserve.images.decode import MEDIA_TYPES
from driftserve_training.configuration import STREAM
from driftserve_training.preparation.candidate import Candidate, Rejection, read_candidate
from driftserve_training.preparation.release import AnnotatedTask, Release
from driftserve_training.sources.bucket import SCHEME, download, read_address
from driftserve_training.sources.staging import to_relative_path

_LOCAL_FILES = "/data/local-files/"
_HELD_OUT = ("test", STREAM)
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}  # by Pillow's name of the format


@dataclass(frozen=True)
class MergeResult:
    """The candidates with the annotators' labels, what was listed on the way, and how many changed."""

    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
    relabelled: int
    added: int


def merge(candidates: Iterable[Candidate], release: Release, smallest: int, scratch: Path) -> MergeResult:
    """The candidates as a release would have them, by the rules above.

    Args:
        candidates: the images of the folders.
        release: the annotations.
        smallest: pixels that a new image's shorter side must have.
        scratch: folder for the images that are downloaded; it must outlive the candidates.

    Raises:
        DataError: an image of a task is missing, or lies outside of the release.
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
            reason = f"the same bytes as {held_out.name}, whose label stays as {held_out.split} holds it"
            rejections += [Rejection(one.name, reason) for one in annotated]
        elif any(not one.label for one in annotated) or len({one.label for one in annotated}) > 1:
            rejections += [
                Rejection(one.name, "annotators are divided over its label") for one in [*present, *annotated]
            ]
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
    """The annotated images as candidates, those of the same bytes together; a label is empty where they are divided."""
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
    """An annotated image under a name that counts as an image's: an S3 key may have no suffix."""
    suffix: str | None = candidate.file.suffix
    if not candidate.problem and candidate.file.suffix.lower() not in MEDIA_TYPES:
        with Image.open(candidate.file) as image:
            suffix = _SUFFIXES.get(image.format or "")
        if suffix is None:
            candidate = replace(candidate, problem=f"expected one of {', '.join(_SUFFIXES)}, got another format")
    return replace(candidate, is_new=True, file_name=_unique_name(candidate, suffix or ""))


def _unique_name(candidate: Candidate, suffix: str) -> str:
    """The bytes' name: in the folder where annotators put the image its own may be taken."""
    return f"{candidate.file.stem}-{candidate.sha256[:16]}{suffix}"


def _files(release: Release, scratch: Path) -> Mapping[int, Path]:
    """The image file of each task; those in S3 are downloaded."""
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
