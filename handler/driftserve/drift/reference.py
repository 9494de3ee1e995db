"""The reference sample that windows are compared with, and the accuracy estimate that uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.drift.features import count_labels, label_of
from driftserve.drift.report import QUANTILES

_EXCESS_PROBABILITY = 0.1  # the probability that a feature's reference has a larger error than `Reference.error`


@dataclass(frozen=True)
class Reference:
    """The sample that windows are compared with, prepared for many tests.

    `ordered` has the features' values in ascending order, (F, M). `error` is the allowed distance between a feature's
    distribution function and the true one: the half width of Kolmogorov's 90 % confidence band. `class_counts` has the
    number of predictions of each class, (K,). `confidence` is the mean probability of the predicted class.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    ordered: npt.NDArray[np.float64]
    quantiles: npt.NDArray[np.float64]  # (F, Q)
    error: float
    class_counts: npt.NDArray[np.int64]
    confidence: float

    @property
    def size(self) -> int:
        """The number of reference images, M."""
        return self.ordered.shape[1]


def to_reference(names: Sequence[str], rows: npt.NDArray[np.float64]) -> Reference:
    """Return the reference of rows of features, (M, F), whose first columns are the labels' probabilities."""
    labels = tuple(label_of(name) for name in names[: count_labels(names)])
    return Reference(
        names=tuple(names),
        labels=labels,
        ordered=np.ascontiguousarray(np.sort(rows, axis=0).T),
        quantiles=np.quantile(rows, QUANTILES, axis=0).T,
        error=float(stats.kstwo.isf(_EXCESS_PROBABILITY, len(rows))),
        class_counts=class_counts(rows, len(labels)),
        confidence=mean_confidence(rows, len(labels)),
    )


def read_reference(columns: Mapping[str, Sequence[float]]) -> Reference:
    """Return the reference of a contract, given its values by feature."""
    return to_reference(tuple(columns), np.array(list(columns.values())).T)


def estimate_accuracy(rows: npt.NDArray[np.float64], reference: Reference, reference_accuracy: float) -> float:
    """Estimate the accuracy, in [0, 1], on the images of rows of features, (N, F).

    The estimate is the reference's accuracy plus the change of the mean confidence (the difference of confidences,
    Guillory et al. 2021). A network is overconfident far from its training images, so a large drop is underestimated.
    """
    change = mean_confidence(rows, len(reference.labels)) - reference.confidence
    return min(1.0, max(0.0, reference_accuracy + change))


def mean_confidence(rows: npt.NDArray[np.float64], labels: int) -> float:
    """Return the mean probability of the predicted class; the first `labels` columns are the probabilities."""
    return float(rows[:, :labels].max(axis=1).mean())


def class_counts(rows: npt.NDArray[np.float64], labels: int) -> npt.NDArray[np.int64]:
    """Return how often each label is predicted, (K,); the first `labels` columns are the probabilities."""
    return np.bincount(rows[:, :labels].argmax(axis=1), minlength=labels)
