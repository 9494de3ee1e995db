"""The champion, the network to beat: its predictions for the same images, from a file or from its archive."""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from driftserve.archive.reading import archives_in, find_archive
from driftserve.archive.tarball import unpack_tarball
from driftserve.inference.model import load_model
from driftserve.inference.prediction import calibrate
from driftserve.inference.verification import verify_archive
from driftserve_training.dataset.images import pixel_batches
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.evaluation.predictions import Predictions, predictions_file, read_predictions
from driftserve_training.evaluation.scores import check_finite
from driftserve_training.network.threads import preserve_thread_count

_PREDICTIONS_SUFFIX = ".csv"


@dataclass(frozen=True)
class Champion:
    """The name and the predictions of the champion."""

    name: str
    predictions: Predictions


def read_champion(place: Path, manifest: Manifest, split: str) -> Champion:
    """Return the champion at a path, with its predictions for a split.

    Args:
        place: the folder of a training run, its predictions file, or an archive: a `.mar`, or a `model.tar.gz` or a
            folder that holds one. An archive makes its predictions now, with the serving code.
        manifest: manifest of the images.
        split: the split to predict.

    Raises:
        DataError: the predictions are missing or invalid.
        ArchiveError: the archive is missing or invalid.
        OSError: the disk has no room to unpack the archive.
    """
    file = place / predictions_file(split) if place.is_dir() else place
    if file.suffix == _PREDICTIONS_SUFFIX and (file.is_file() or not archives_in(place)):
        return Champion(place.resolve().name, read_predictions(file))
    with tempfile.TemporaryDirectory() as scratch, preserve_thread_count():
        is_packed = place.is_file() and tarfile.is_tarfile(place)
        archive = find_archive(unpack_tarball(place, Path(scratch, "unpacked")) if is_packed else place)
        return _predict(archive, Path(scratch, "model"), manifest, split)


def _predict(archive: Path, scratch: Path, manifest: Manifest, split: str) -> Champion:
    """Compute an archive's calibrated predictions for the images of a split, at the archive's input size."""
    contract = verify_archive(archive, scratch, allowed=()).contract
    spec, entries = contract.image_spec, manifest.split(split)
    model = load_model(scratch, contract)
    batches = tqdm(pixel_batches(manifest, split, spec), desc="champion", unit="batch")
    logits = np.concatenate([model(batch).logits for batch in batches])
    check_finite(logits, f"champion {contract.display_name}")
    predictions = Predictions(
        contract.labels,
        tuple(entry.path for entry in entries),
        tuple(entry.label for entry in entries),
        calibrate(logits, contract.temperature),
    )
    return Champion(contract.display_name, predictions)
