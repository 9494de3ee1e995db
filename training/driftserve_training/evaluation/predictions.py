"""The file `predictions-<split>.csv`: for each image its path, its label, and one probability per label."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.errors import DataError
from driftserve_training.dataset.manifest import Entry


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for N images and K classes.

    `probabilities`, (N, K), are calibrated; its columns are in the order of `labels`. `paths`, (N,), are the paths of
    the images in the data set, and `targets`, (N,), are the true labels of the images.
    """

    labels: tuple[str, ...]
    paths: tuple[str, ...]
    targets: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable label is the true one, (N,)."""
        predicted = np.array(self.labels)[self.probabilities.argmax(axis=1)]
        return np.asarray(predicted == np.array(self.targets))


def predictions_file(split: str) -> str:
    """Return the name of the file with the predictions for a split; it is in the folder of a training run."""
    return f"predictions-{split}.csv"


def write_predictions(
    path: Path, entries: Sequence[Entry], labels: Sequence[str], probabilities: npt.NDArray[np.float64]
) -> None:
    """Write the calibrated probabilities of the network before export, (N, K), to compare served answers with them."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", *labels))
        for entry, row in zip(entries, probabilities.tolist(), strict=True):
            writer.writerow((entry.path, entry.label, *(repr(value) for value in row)))


def read_predictions(path: Path) -> Predictions:
    """Read the predictions that `write_predictions` wrote; no digit is lost.

    Raises:
        DataError: the file is missing, or does not hold predictions.
    """
    try:
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        first, second, *labels = header
        paths, targets, *columns = zip(*rows, strict=True)
        probabilities = np.array(columns, np.float64).T
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read the predictions: {error}; run `evaluate` to write them") from error
    if (first, second) != ("path", "label") or len(labels) != len(columns) or not np.isfinite(probabilities).all():
        raise DataError(
            f"{path}: expected the columns path, label and probabilities, got {','.join(header)[:80]!r}; "
            "run `evaluate` to write them"
        )
    return Predictions(tuple(labels), paths, targets, probabilities)
