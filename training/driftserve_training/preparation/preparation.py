"""Make a data set from fetched images: check them, choose validation images, write a read-only manifest."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from driftserve.errors import DataError
from driftserve_training.configuration import SPLITS, STREAM
from driftserve_training.dataset.listing import list_names
from driftserve_training.dataset.manifest import MANIFEST_FILE, Entry, Manifest, write_manifest
from driftserve_training.preparation.annotation import MergeResult, merge
from driftserve_training.preparation.candidate import Candidate, Rejection, read_candidate
from driftserve_training.preparation.checks import check, check_classes
from driftserve_training.preparation.near_duplicates import (
    NEAR_DUPLICATES_FILE,
    NearDuplicate,
    Treatment,
    find_near_duplicates,
    write_near_duplicates,
)
from driftserve_training.preparation.release import read_release
from driftserve_training.preparation.validation import split_off_validation
from driftserve_training.sources.layout import PREDICTION, Layout, read_layout
from driftserve_training.sources.staging import Staging, check_new_or_empty, place, staged

REJECTED_FILE = "rejected.csv"


@dataclass(frozen=True)
class PreparationRules:
    """Rules for usable images and for the choice of validation images."""

    val_fraction: float = 0.15
    """Fraction of each class's training images to validate on, if the source has no validation split."""
    seed: int = 0
    """Seed of the choice of validation images."""
    smallest: int = 32
    """Minimum length of the shorter side of an image, in pixels."""
    drop: bool = False
    """Whether to drop unusable images; if not, they are an error."""
    near_duplicates: Treatment = "list"
    """What to do with near-duplicates of an image in another split: list, refuse (an error) or drop them."""


@dataclass(frozen=True)
class PreparationResult:
    """The number of images by split and class, and how many were rejected, or relabelled or added by annotators.

    `near_duplicates` counts the near-duplicates of an image in another split, dropped or not.
    """

    images: Mapping[str, Mapping[str, int]]
    rejected: int
    near_duplicates: int
    relabelled: int
    added: int
    manifest_sha256: str
    is_unchanged: bool
    """Whether the output already held exactly this data set."""


def prepare(
    source: Path, output: Path, rules: PreparationRules | None = None, annotations: str | None = None
) -> PreparationResult:
    """Write `train/`, `val/`, `test/`, `stream/` if the source has one, and manifest.csv from fetched images.

    If the output already holds the same data set, it is not changed.

    Args:
        source: the output of `fetch`, or a folder in any layout that `fetch` reads.
        output: a new or empty folder, or the output of an earlier call; written completely or not at all.
        rules: the defaults of `PreparationRules` if None.
        annotations: a Label Studio release: a file, a folder or `s3://<bucket>/<prefix>`.

    Raises:
        DataError: there are unusable images and `rules.drop` is not set; there are near-duplicates and the rules refuse
            them; a split or class is missing; the release is invalid; or the output holds another data set.
    """
    rules = rules or PreparationRules()
    if not source.is_dir():
        raise DataError(f"{source}: expected a folder written by `fetch`, got none; run `fetch` first")
    if not (output / MANIFEST_FILE).is_file():
        check_new_or_empty(output)
    with staged(output) as staging:
        merged = _candidates(source, rules, annotations, staging.scratch)
        checked = check(merged.candidates)
        if checked.faults and not rules.drop:
            raise _unusable_error(source, checked.faults)
        candidates = split_off_validation(checked.kept, rules.val_fraction, rules.seed)
        near = find_near_duplicates(candidates)
        if near and rules.near_duplicates == "refuse":
            raise _near_duplicate_error(source, near)
        dropped = [one.rejection for one in near] if rules.near_duplicates == "drop" else []
        candidates = _leave_out(candidates, dropped)
        check_classes(candidates, str(source))
        rejected = sorted((*merged.rejections, *checked.faults, *checked.repeats, *dropped), key=lambda one: one.path)
        write_near_duplicates(near, staging.whole / NEAR_DUPLICATES_FILE)
        manifest, is_unchanged = _write(candidates, rejected, staging)
    return PreparationResult(
        _count(manifest), len(rejected), len(near), merged.relabelled, merged.added, manifest.sha256, is_unchanged
    )


def _candidates(source: Path, rules: PreparationRules, annotations: str | None, scratch: Path) -> MergeResult:
    layout = read_layout(source, str(source))
    labels = {image.label for image in layout.images if image.label}
    release = read_release(annotations, labels, scratch) if annotations else None  # fail before minutes of reading
    candidates = _read(layout, rules.smallest)
    if release is None:
        return MergeResult(candidates, (), 0, 0)
    return merge(candidates, release, rules.smallest, scratch)


def _read(layout: Layout, smallest: int) -> tuple[Candidate, ...]:
    images = [image for image in layout.images if image.split != PREDICTION]
    return tuple(
        read_candidate(
            image.file, image.file.relative_to(layout.root).as_posix(), image.split, image.label or "", smallest
        )
        for image in tqdm(images, desc="checking", unit="image")
    )


def _unusable_error(source: Path, faults: Sequence[Rejection]) -> DataError:
    return DataError(
        f"{source}: expected usable images, got {len(faults)} unusable: {_list_rejections(faults)}; "
        "repair or remove them, or leave them out with --drop"
    )


def _near_duplicate_error(source: Path, near: Sequence[NearDuplicate]) -> DataError:
    return DataError(
        f"{source}: expected no near-duplicates in two splits, got {len(near)}: "
        f"{_list_rejections([one.rejection for one in near])}; remove them, or give --near-duplicates drop or list"
    )


def _list_rejections(rejections: Sequence[Rejection]) -> str:
    return list_names([f"{one.path} ({one.reason})" for one in rejections])


def _leave_out(candidates: Sequence[Candidate], dropped: Sequence[Rejection]) -> list[Candidate]:
    names = {one.path for one in dropped}
    return [candidate for candidate in candidates if candidate.name not in names]


def _write(candidates: Iterable[Candidate], rejected: Sequence[Rejection], staging: Staging) -> tuple[Manifest, bool]:
    """Write the data set unless the output already holds it; return the manifest and whether the output held it."""
    files = {_path(candidate): candidate for candidate in candidates}
    order = sorted(files, key=lambda path: ((*SPLITS, STREAM).index(path.parts[0]), path))
    entries = tuple(Entry(str(path), path.parts[0], path.parts[1], files[path].sha256) for path in order)
    manifest = Manifest(staging.output, entries)
    write_manifest(manifest, staging.whole / MANIFEST_FILE)
    (staging.whole / MANIFEST_FILE).chmod(0o444)
    if (staging.output / MANIFEST_FILE).is_file():
        _check_unchanged(manifest, staging)
        return manifest, True
    _write_rejected(rejected, staging.whole / REJECTED_FILE)
    for path in order:
        place(files[path].file, staging.whole / path)
    staging.publish()
    return manifest, False


def _path(candidate: Candidate) -> PurePosixPath:
    return PurePosixPath(candidate.split, candidate.label, candidate.file_name)


def _check_unchanged(manifest: Manifest, staging: Staging) -> None:
    """Raise if the output holds another data set, or if its images no longer match its manifest."""
    output = staging.output
    if (output / MANIFEST_FILE).read_bytes() != (staging.whole / MANIFEST_FILE).read_bytes():
        raise DataError(
            f"{output}: expected a new or empty folder, or one with exactly these images, but its {MANIFEST_FILE} "
            "lists other images; a prepared data set never changes, so choose another folder"
        )
    for entry in manifest.entries:
        file = output / entry.path
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != entry.sha256:
            raise DataError(
                f"{file}: expected the image that {MANIFEST_FILE} lists, got a changed or missing file; "
                "choose another folder"
            )


def _write_rejected(rejected: Sequence[Rejection], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "reason"))
        writer.writerows((one.path, one.reason) for one in rejected)


def _count(manifest: Manifest) -> dict[str, dict[str, int]]:
    splits = dict.fromkeys(entry.split for entry in manifest.entries)
    return {split: dict(Counter(entry.label for entry in manifest.split(split))) for split in splits}
