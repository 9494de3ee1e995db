"""The manifest of a data set: every image with its split, label and SHA-256."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from driftserve.archive.contract import MOST_LABELS
from driftserve.errors import BadRequest, DataError
from driftserve.images.decode import decode
from driftserve.images.files import find_images
from driftserve.text import dimension_value
from driftserve_training.configuration import SPLITS
from driftserve_training.dataset.listing import list_names

MANIFEST_FILE = "manifest.csv"
_COLUMNS = ("path", "split", "label", "sha256")


@dataclass(frozen=True)
class Entry:
    """One image of the manifest; `path` is relative to the folder of the data set."""

    path: str
    split: str
    label: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All images of a folder with the layout `<split>/<label>/<image>`."""

    folder: Path
    entries: tuple[Entry, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Sorted labels; the position of a label is its class index."""
        return tuple(sorted({entry.label for entry in self.entries}))

    @property
    def sha256(self) -> str:
        """Digest that identifies this data set in the provenance of an archive."""
        lines = (f"{entry.path} {entry.sha256}\n" for entry in self.entries)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def split(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of one split."""
        return tuple(entry for entry in self.entries if entry.split == name)


def scan(folder: Path, splits: Sequence[str] = SPLITS) -> Manifest:
    """Decode every image of a folder once and return the manifest.

    Raises:
        DataError: a split is missing, its labels differ from those of the first split, an image is corrupt, two splits
            have the same image, or the folder does not match its manifest file. The message names the files.
    """
    entries: list[Entry] = []
    corrupt: list[str] = []
    for split in splits:
        files = find_images(folder, f"{split}/*/*")
        if not files:
            raise DataError(f"{folder}: expected images as {split}/<class>/<image>.jpg, got none")
        _check_number(folder, {path.parent.name for path in files})  # before minutes of reading
        for path in tqdm(files, desc=f"reading {split}", unit="image"):
            body = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            try:
                decode(body)
            except BadRequest as error:
                corrupt.append(f"{name} ({error})")
            entries.append(Entry(name, split, path.parent.name, hashlib.sha256(body).hexdigest()))
    if corrupt:
        raise DataError(f"{folder}: cannot decode {list_names(corrupt)}; remove or replace them")
    manifest = Manifest(folder, tuple(entries))
    _check_labels(manifest, splits)
    _check_leakage(manifest)
    _check_against_file(manifest, splits)
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV: path, split, label, sha256."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows((entry.path, entry.split, entry.label, entry.sha256) for entry in manifest.entries)


def _check_against_file(manifest: Manifest, splits: Sequence[str]) -> None:
    """Compare the images with the manifest file that `preprocess` wrote, if there is one."""
    path = manifest.folder / MANIFEST_FILE
    if not path.is_file():
        return
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: expected the file that `preprocess` writes, got {error}; run `preprocess` again"
        ) from error
    if not rows or tuple(rows[0]) != _COLUMNS:
        return  # not written by `preprocess`
    promised = {Entry(*row) for row in rows[1:] if len(row) == len(_COLUMNS) and row[1] in splits}
    if changed := sorted({entry.path for entry in promised.symmetric_difference(manifest.entries)}):
        raise DataError(
            f"{path}: expected the images that it lists, got changes in {list_names(changed)}; run `preprocess` again"
        )


def check_dimensions(labels: Iterable[str], origin: str) -> None:
    """Raise if two labels would have one value of the CloudWatch dimension `Class`.

    Raises:
        DataError: two labels would share a dimension; the message names both.
    """
    owners: dict[str, str] = {}
    for label in sorted(labels):
        if (owner := owners.setdefault(dimension_value(label), label)) != label:
            raise DataError(
                f"{origin}: expected classes that CloudWatch can tell apart, got {owner!r} and {label!r}, which would "
                f"both be {dimension_value(label)!r}; rename one"
            )


def _check_number(folder: Path, labels: Collection[str]) -> None:
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"{folder}: expected at most {MOST_LABELS} classes, because a drift reference has no room for more, got "
            f"{len(labels)}; merge or remove some"
        )


def _check_labels(manifest: Manifest, splits: Sequence[str]) -> None:
    expected = {entry.label for entry in manifest.split(splits[0])}
    if len(expected) < 2:
        raise DataError(f"{manifest.folder}: expected at least 2 classes in {splits[0]}/, got {sorted(expected)}")
    check_dimensions(expected, str(manifest.folder))
    for split in splits[1:]:
        if (labels := {entry.label for entry in manifest.split(split)}) != expected:
            raise DataError(
                f"{manifest.folder}: expected the classes {sorted(expected)} in {split}/, got {sorted(labels)}"
            )


def _check_leakage(manifest: Manifest) -> None:
    by_digest: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in manifest.entries:
        by_digest[entry.sha256].append(entry)
    leaks = [
        " = ".join(entry.path for entry in same)
        for same in by_digest.values()
        if len({entry.split for entry in same}) > 1
    ]
    if leaks:
        raise DataError(
            f"{manifest.folder}: expected no image in two splits, got {list_names(leaks)}; remove one of each"
        )
