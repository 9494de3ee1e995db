"""The reference, a sample of images that windows are compared with, and the accuracy estimate that uses it.

In the shapes below, F is the number of features, K of labels, M of reference images, and Q of `QUANTILES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.archive.contract import MOST_REFERENCE_IMAGES, MOST_REFERENCE_VALUES
from driftserve.drift.features import count_labels, label_of
from driftserve.drift.report import QUANTILES

_EXCESS_PROBABILITY = 0.1  # the probability that a feature's sample has a larger error than `Reference.error`


@dataclass(frozen=True)
class Reference:
    """The reference, prepared for many tests.

    `ordered` has each feature's values in ascending order, (F, M). `error` is the half width of Kolmogorov's 90 %
    confidence band: with 90 % probability, a feature's distribution function in this sample is at most this far from
    the true one. `class_counts` has the number of predictions of each label, (K,). `confidence` is the mean probability
    of the predicted label.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    ordered: npt.NDArray[np.float64]
    quantiles: npt.NDArray[np.float64]  # (F, Q), each feature's quantiles
    error: float
    class_counts: npt.NDArray[np.int64]
    confidence: float

    @property
    def size(self) -> int:
        """The number M of reference images."""
        return self.ordered.shape[1]


def to_reference(names: Sequence[str], rows: npt.NDArray[np.float64]) -> Reference:
    """Return the reference for rows of features, (M, F); the first columns are the labels' probabilities."""
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
    """Return the reference for `Contract.reference`, which maps each feature to its values."""
    return to_reference(tuple(columns), np.array(list(columns.values())).T)


def most_images(features: int) -> int:
    """Return the largest number of images in a reference with this number of features."""
    return min(MOST_REFERENCE_IMAGES, MOST_REFERENCE_VALUES // features)


def sample_images(images: int, features: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of the images that become the reference, in ascending order, (M,).

    These are all images, or a random sample of `most_images(features)` if there are more.
    """
    return np.sort(np.random.default_rng(seed).permutation(images)[: most_images(features)])


def estimate_accuracy(rows: npt.NDArray[np.float64], reference: Reference, reference_accuracy: float) -> float:
    """Estimate the accuracy, in [0, 1], on N images, given their features, (N, F).

    The estimate is the accuracy on the reference plus the change of the mean confidence (the difference of confidences,
    Guillory et al. 2021). The confidence stays too high on images that differ much from the training images. So the
    estimate is too high after a large drop of the accuracy.
    """
    change = mean_confidence(rows, len(reference.labels)) - reference.confidence
    return min(1.0, max(0.0, reference_accuracy + change))


def mean_confidence(rows: npt.NDArray[np.float64], labels: int) -> float:
    """Return the mean probability of the predicted label; the first `labels` columns are the probabilities."""
    return float(rows[:, :labels].max(axis=1).mean())


def class_counts(rows: npt.NDArray[np.float64], labels: int) -> npt.NDArray[np.int64]:
    """Return how often each label is predicted, (K,); the first `labels` columns are the probabilities."""
    return np.bincount(rows[:, :labels].argmax(axis=1), minlength=labels)
