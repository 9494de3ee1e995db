"""The predictions of a split on disk, `predictions-<split>.csv`: path, label, a column of probabilities a label."""

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
    """What a network said of images: `probabilities` is (N, K) float64, calibrated, its columns in the labels' order.

    `paths` and `targets` are the images' own, (N,): where they lie in the data set, and their right labels.
    """

    labels: tuple[str, ...]
    paths: tuple[str, ...]
    targets: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable label is the right one, (N,)."""
        predicted = np.array(self.labels)[self.probabilities.argmax(axis=1)]
        return np.asarray(predicted == np.array(self.targets))


def predictions_file(split: str) -> str:
    """The name of the file, in the folder of a training run, with the predictions of a split."""
    return f"predictions-{split}.csv"


def write_predictions(
    path: Path, entries: Sequence[Entry], labels: Sequence[str], probabilities: npt.NDArray[np.float64]
) -> None:
    """Write the eager network's calibrated probabilities, (N, K), of every image, to hold served ones against."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", *labels))
        for entry, row in zip(entries, probabilities.tolist(), strict=True):
            writer.writerow((entry.path, entry.label, *(repr(value) for value in row)))


def read_predictions(path: Path) -> Predictions:
    """The predictions that `write_predictions` wrote, every digit of them.

    Raises:
        DataError: there are none.
    """
    try:
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        first, second, *labels = header
        paths, targets, *columns = zip(*rows, strict=True)
        probabilities = np.array(columns, np.float64).T
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected predictions, got {error}; run `evaluate` to write them") from error
    if (first, second) != ("path", "label") or len(labels) != len(columns) or not np.isfinite(probabilities).all():
        raise DataError(
            f"{path}: expected the columns path, label and probabilities, got {','.join(header)[:80]!r}; "
            "run `evaluate` to write them"
        )
    return Predictions(tuple(labels), paths, targets, probabilities)
