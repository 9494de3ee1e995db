"""The sample that windows are held against, and what it says of accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.drift.features import count_labels, label_of
from driftserve.drift.report import QUANTILES

_UNSURE = 0.1  # of a feature's reference: the probability that its error is larger than what is allowed for


@dataclass(frozen=True)
class Reference:
    """The sample that windows are held against, made ready for many tests.

    `ordered` are the features' values in ascending order, (F, M); `error` is how far a feature's distribution function
    may lie from the true one: the half width of Kolmogorov's 90 % confidence band; `class_counts` are the predicted
    classes, (K,); `confidence` is the mean probability of the predicted class.
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
    """The reference that rows of features, (M, F), make; the first columns are the labels' probabilities."""
    labels = tuple(label_of(name) for name in names[: count_labels(names)])
    return Reference(
        names=tuple(names),
        labels=labels,
        ordered=np.ascontiguousarray(np.sort(rows, axis=0).T),
        quantiles=np.quantile(rows, QUANTILES, axis=0).T,
        error=float(stats.kstwo.isf(_UNSURE, len(rows))),
        class_counts=class_counts(rows, len(labels)),
        confidence=mean_confidence(rows, len(labels)),
    )


def read_reference(columns: Mapping[str, Sequence[float]]) -> Reference:
    """The reference of a contract: its values by feature."""
    return to_reference(tuple(columns), np.array(list(columns.values())).T)


def estimate_accuracy(rows: npt.NDArray[np.float64], reference: Reference, reference_accuracy: float) -> float:
    """The accuracy, in [0, 1], that rows of features, (N, F), would have.

    The reference's accuracy less what the mean confidence has fallen by (the difference of confidences,
    Guillory et al. 2021). Far from the training images a network stays too sure of itself: great falls are
    underestimated.
    """
    change = mean_confidence(rows, len(reference.labels)) - reference.confidence
    return min(1.0, max(0.0, reference_accuracy + change))


def mean_confidence(rows: npt.NDArray[np.float64], labels: int) -> float:
    """The mean probability of the predicted class in rows of features whose first columns are the labels'."""
    return float(rows[:, :labels].max(axis=1).mean())


def class_counts(rows: npt.NDArray[np.float64], labels: int) -> npt.NDArray[np.int64]:
    """How often each label is predicted, (K,), in rows of features whose first columns are the labels'."""
    return np.bincount(rows[:, :labels].argmax(axis=1), minlength=labels)
