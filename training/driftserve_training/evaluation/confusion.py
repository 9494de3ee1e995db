"""Scores from the counts of a confusion matrix, for one matrix or for thousands at a time.

The definitions are those of torchmetrics: a division by zero gives 0, and a macro mean leaves out a class that is
neither present nor predicted. The scores are computed here, in double precision, so that an estimate and its resamples
come from the same code.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Numbers of images of each class, (..., K): correctly predicted, of this class, and predicted as this class.

    All scores follow from these sums, so that their cost does not grow with the square of the number of classes.
    """

    correct: Array
    actual: Array
    predicted: Array


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1] for K classes.

    `precision`, `recall` and `f1` are the scores of each class, (..., K). The others are overall scores, (...).
    """

    accuracy: Array
    macro_f1: Array
    macro_precision: Array
    macro_recall: Array
    weighted_f1: Array
    weighted_precision: Array
    weighted_recall: Array
    precision: Array
    recall: Array
    f1: Array


def confusion_matrix(
    predicted: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """Return the confusion matrix of K classes, (K, K), from the class indices of N images, (N,) each.

    A row is a true class, a column a predicted class.
    """
    counted = multiclass_confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(targets), classes)
    return np.asarray(counted.numpy(), np.int64)


def counts_of(confusion: npt.NDArray[np.int64]) -> Counts:
    """Return the counts of a confusion matrix of K classes, (K, K)."""
    matrix = confusion.astype(np.float64)
    return Counts(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))


def scores_of(counts: Counts) -> Scores:
    """Return the scores for the counts of one or more confusion matrices.

    >>> round(float(scores_of(counts_of(np.array([[3, 1], [0, 4]]))).macro_f1), 3)
    0.873
    """
    correct, actual, predicted = counts.correct, counts.actual, counts.predicted
    precision, recall, f1 = _share(correct, predicted), _share(correct, actual), f_score(counts, 1.0)
    is_present = ((actual + predicted) > 0).astype(np.float64)
    return Scores(
        accuracy=_share(correct.sum(axis=-1), actual.sum(axis=-1)),
        macro_f1=_mean(f1, is_present),
        macro_precision=_mean(precision, is_present),
        macro_recall=_mean(recall, is_present),
        weighted_f1=_mean(f1, actual),
        weighted_precision=_mean(precision, actual),
        weighted_recall=_mean(recall, actual),
        precision=precision,
        recall=recall,
        f1=f1,
    )


def f_score(counts: Counts, beta: float) -> Array:
    """Return the F-beta score of each class, (..., K); recall counts `beta` times as much as precision."""
    return _share((1 + beta**2) * counts.correct, beta**2 * counts.actual + counts.predicted)


def weighted_f_score(counts: Counts, beta: float) -> Array:
    """Return the mean of the classes' F-beta scores, (...), weighted by the number of their images."""
    return _mean(f_score(counts, beta), counts.actual)


def _mean(values: Array, weights: Array) -> Array:
    return _share((values * weights).sum(axis=-1), weights.sum(axis=-1))


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
