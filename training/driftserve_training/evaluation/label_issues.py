"""Images whose label is probably wrong, by confident learning (Northcutt et al. 2021), to be looked at again.

`label_issues-<split>.csv`: path, label, suggested_label, label_probability, suggested_probability, rank; what the
network contradicts most is first. It is no verdict: it names what is ambiguous, and what the network has not learned,
as well as what somebody has labelled wrongly.
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
    """An image, its label and the one that the network would give it, with both probabilities; `rank` is from 1."""

    path: str
    label: str
    suggested_label: str
    label_probability: float
    suggested_probability: float
    rank: int


def label_issues_file(split: str) -> str:
    """The name of the file, in the folder of a training run, with the label issues of a split."""
    return f"label_issues-{split}.csv"


def find_label_issues(predictions: Predictions) -> tuple[LabelIssue, ...]:
    """The images that a network would relabel, the one with the widest margin between the two probabilities first.

    Args:
        predictions: of images that the network was not trained on: of others it repeats what it was told.
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
    """The class indices, (N,), that images should have: their own, or off the diagonal of the confident joint another.

    A class is confident of an image if it is at least as probable as, on average, for the images labelled so (equation
    2 of the paper); of several the most probable counts. Where the label is the most probable class of all it stays, as
    in cleanlab.

    >>> suggest_labels(np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]]), np.array([0, 0, 1, 1]))
    array([0, 1, 1, 1])

    Args:
        probabilities: (N, K), of images that the network was not trained on.
        targets: (N,), the class indices that they are labelled with.
    """
    is_of = targets[:, None] == np.arange(probabilities.shape[1])
    # Of a class without images there is no mean, and 1.0 may well be reached: nothing is ever confident of it.
    thresholds = np.full(probabilities.shape[1], np.inf)
    np.divide((probabilities * is_of).sum(axis=0), is_of.sum(axis=0), out=thresholds, where=is_of.any(axis=0))
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    stays = (confident.max(axis=1) < 0) | (probabilities.argmax(axis=1) == targets)
    return np.where(stays, targets, confident.argmax(axis=1))


def write_label_issues(path: Path, issues: Sequence[LabelIssue]) -> None:
    """Write label issues as CSV, one a row."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(issue) for issue in issues)
