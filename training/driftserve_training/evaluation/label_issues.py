"""Find images whose label is probably wrong, by confident learning (Northcutt et al. 2021), for a person to check.

The columns of `label_issues-<split>.csv` are path, label, suggested_label, label_probability, suggested_probability
and rank. The label that the network contradicts most comes first. The list is not a verdict: besides wrong labels it
names ambiguous images, and images that the network has not learned.
"""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve_training.evaluation.predictions import Predictions

_COLUMNS = ("path", "label", "suggested_label", "label_probability", "suggested_probability", "rank")


@dataclass(frozen=True)
class LabelIssue:
    """An image, its label and the label that the network suggests, with both probabilities; `rank` starts at 1."""

    path: str
    label: str
    suggested_label: str
    label_probability: float
    suggested_probability: float
    rank: int


def label_issues_file(split: str) -> str:
    """Return the name of the file with the label issues of a split; it is in the folder of a training run."""
    return f"label_issues-{split}.csv"


def find_label_issues(predictions: Predictions) -> tuple[LabelIssue, ...]:
    """Return the images that a network would relabel; the largest difference of the two probabilities comes first.

    Args:
        predictions: for images that the network was not trained on. For training images it repeats their labels.
    """
    targets = np.array([predictions.labels.index(label) for label in predictions.targets])
    suggested = suggest_labels(predictions.probabilities, targets)
    (places,) = np.nonzero(suggested != targets)
    label_probabilities = predictions.probabilities[places, targets[places]]
    suggested_probabilities = predictions.probabilities[places, suggested[places]]
    return tuple(
        LabelIssue(
            path=predictions.paths[places[index]],
            label=predictions.targets[places[index]],
            suggested_label=predictions.labels[suggested[places[index]]],
            label_probability=float(label_probabilities[index]),
            suggested_probability=float(suggested_probabilities[index]),
            rank=rank,
        )
        for rank, index in enumerate(np.argsort(label_probabilities - suggested_probabilities, kind="stable"), start=1)
    )


def suggest_labels(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the class indices, (N,), that N images should have: their own, or that of another confident class.

    A class is confident of an image if its probability for the image is at least its mean probability over the images
    with that label (equation 2 of the paper). If several classes are confident, the most probable one counts. If the
    label is the most probable of all classes, it stays, as in cleanlab.

    >>> suggest_labels(np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]]), np.array([0, 0, 1, 1]))
    array([0, 1, 1, 1])

    Args:
        probabilities: (N, K), for K classes, of images that the network was not trained on.
        targets: (N,), class indices of the labels of the images.
    """
    is_of = targets[:, None] == np.arange(probabilities.shape[1])
    # A class without images has no mean, and must never be confident. A probability can reach 1.0, but not infinity.
    thresholds = np.full(probabilities.shape[1], np.inf)
    np.divide((probabilities * is_of).sum(axis=0), is_of.sum(axis=0), out=thresholds, where=is_of.any(axis=0))
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    stays = (confident.max(axis=1) < 0) | (probabilities.argmax(axis=1) == targets)
    return np.where(stays, targets, confident.argmax(axis=1))


def write_label_issues(path: Path, issues: Sequence[LabelIssue]) -> None:
    """Write label issues as CSV, one in each row."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(issue) for issue in issues)
