"""Read the manifest of a training run's images, and check that a data set has the same images."""

import csv
from collections.abc import Sequence
from pathlib import Path

from driftserve.errors import DataError
from driftserve_training.dataset.listing import list_names
from driftserve_training.dataset.manifest import MANIFEST_FILE, Entry, Manifest


def read_trained_images(trained: Path, sha256: str) -> Manifest:
    """Read the manifest of the images of a training run.

    Args:
        trained: folder of the run.
        sha256: digest of the manifest, from the record of the run.

    Raises:
        DataError: the manifest cannot be read, or has another digest.
    """
    path = trained / MANIFEST_FILE
    try:
        with path.open(newline="") as file:
            entries = tuple(
                Entry(row["path"], row["split"], row["label"], row["sha256"]) for row in csv.DictReader(file)
            )
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the manifest of the training run: {error!r}; train again") from error
    manifest = Manifest(trained, entries)
    if manifest.sha256 != sha256:
        raise DataError(
            f"{path}: expected the manifest {sha256[:12]} of the training run, got {manifest.sha256[:12]}; train again"
        )
    return manifest


def check_same_images(manifest: Manifest, trained: Manifest, splits: Sequence[str]) -> None:
    """Raise unless the images of the splits are the same as in a training run, by path and content.

    A split that the run did not have, such as a stream, is not checked.

    Args:
        manifest: the images to check.
        trained: the images of the run.
        splits: the splits to compare.

    Raises:
        DataError: images were added, removed or changed; the message names up to ten.
    """
    known = {entry.split for entry in trained.entries} & set(splits)
    ours = {entry for entry in manifest.entries if entry.split in known}
    theirs = {entry for entry in trained.entries if entry.split in known}
    if changed := sorted({entry.path for entry in ours ^ theirs}):
        raise DataError(
            f"{manifest.folder}: expected the images of the training run, got changes in {list_names(changed)}; "
            "give the data of the training run, or train again"
        )
