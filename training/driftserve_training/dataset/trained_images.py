"""The images of a training run, as its manifest names them, and whether others are the same."""

import csv
from collections.abc import Sequence
from pathlib import Path

from driftserve.errors import DataError
from driftserve_training.dataset.listing import list_names
from driftserve_training.dataset.manifest import MANIFEST_FILE, Entry, Manifest


def read_trained_images(trained: Path, sha256: str) -> Manifest:
    """The manifest of the images that a run was given.

    Args:
        trained: the run's folder.
        sha256: the manifest's digest, as the run's record has it.

    Raises:
        DataError: it cannot be read, or is another one.
    """
    path = trained / MANIFEST_FILE
    try:
        with path.open(newline="") as file:
            entries = tuple(
                Entry(row["path"], row["split"], row["label"], row["sha256"]) for row in csv.DictReader(file)
            )
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: expected the manifest of a training run, got {error!r}; train again") from error
    manifest = Manifest(trained, entries)
    if manifest.sha256 != sha256:
        raise DataError(
            f"{path}: expected the manifest {sha256[:12]} that was trained on, got {manifest.sha256[:12]}; train again"
        )
    return manifest


def check_same_images(manifest: Manifest, trained: Manifest, splits: Sequence[str]) -> None:
    """Pass if the images of some splits are those of a training run, by path and content.

    A split that the run was not given, as a stream may be, has nothing to be held against, and passes.

    Args:
        manifest: of the images at hand.
        trained: of the run.
        splits: the ones to compare.

    Raises:
        DataError: images were added, removed or changed; the message names up to ten.
    """
    known = {entry.split for entry in trained.entries} & set(splits)
    ours = {entry for entry in manifest.entries if entry.split in known}
    theirs = {entry for entry in trained.entries if entry.split in known}
    if changed := sorted({entry.path for entry in ours ^ theirs}):
        raise DataError(
            f"{manifest.folder}: expected the images that were trained with, got others: {list_names(changed)}; "
            "give the data of the training run, or train again"
        )
