"""The reference, a sample of images that windows are compared with, and the accuracy estimate that uses it.

In the shapes below, F is the number of features, K of labels, M of reference images, and Q of `QUANTILES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.archive.contract import MOST_REFERENCE_IMAGES, MOST_REFERENCE_VALUES
from driftserve.drift.features import count_labels, label_of
from driftserve.drift.report import QUANTILES

_EXCESS_PROBABILITY = 0.1  # the probability that a feature's sample has a larger error than `Reference.error`
_FEWEST_OF_LABEL = 5  # fewest images of a label for a mean rank of its own
_ATOM_SHARE = 0.05  # least share of one value in a feature's sample for which the value is an atom


@dataclass(frozen=True)
class Atom:
    """A value that many images have exactly, for example a clipping of 0.

    `begin` and `end` are the places of the equal values in the feature's ordered sample.
    """

    value: float
    begin: int
    end: int


@dataclass(frozen=True)
class Weighting:
    """The reference's distribution functions, with a weight for each predicted label.

    `weights` has the weights, (K,), and `steps` each feature's distribution function after each number of ordered
    values, (F, M + 1). `size` is Kish's effective sample size, the number of unweighted images with the same
    sampling error: the square of the sum of the images' weights, divided by the sum of their squares.
    """

    weights: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]
    size: float


@dataclass(frozen=True)
class Reference:
    """The reference, prepared for many tests.

    `ordered` has each feature's values in ascending order, (F, M), `predicted` the index of the label predicted for the
    image of each of these values, (F, M). `error` is the half width of Kolmogorov's 90 % confidence band: with 90 %
    probability, a feature's distribution function in this sample is at most this far from the true one. `class_counts`
    has the number of predictions of each label, (K,). `confidence` is the mean probability of the predicted label.
    `atoms` has each feature's atom, or None.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    ordered: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.intp]
    quantiles: npt.NDArray[np.float64]  # (F, Q), each feature's quantiles
    error: float
    class_counts: npt.NDArray[np.int64]
    confidence: float
    atoms: tuple[Atom | None, ...]

    @property
    def size(self) -> int:
        """The number M of reference images."""
        return self.ordered.shape[1]

    @cached_property
    def group_ends(self) -> npt.NDArray[np.intp]:
        """The number of values up to the end of the group of equal values around each place, (F, M + 1)."""
        return _group_ends(self.ordered)

    @cached_property
    def label_ranks(self) -> npt.NDArray[np.float64]:
        """The mean rank of each feature among the images of each predicted label, in [0, 1], (K, F).

        For a label with very few images it is the mean rank of all images, 1/2.
        """
        sums = np.zeros((len(self.labels), len(self.names)))
        np.add.at(sums.T, (np.arange(len(self.names))[:, np.newaxis], self.predicted), self._ranks)
        is_frequent = (self.class_counts >= _FEWEST_OF_LABEL)[:, np.newaxis]
        return np.where(is_frequent, sums / np.maximum(self.class_counts, 1)[:, np.newaxis], 0.5)

    @cached_property
    def rank_variances(self) -> npt.NDArray[np.float64]:
        """The variance of each feature's ranks in the reference, (F,); 1/12 without equal values."""
        return np.asarray(self._ranks.var(axis=1))

    @property
    def _ranks(self) -> npt.NDArray[np.float64]:
        """The rank of each ordered value, in [0, 1], (F, M); equal values have their mean rank."""
        begins = self.size - _group_ends(self.ordered[:, ::-1])[:, ::-1]
        return np.asarray((begins[:, :-1] + self.group_ends[:, 1:]) / 2 / self.size)

    @cached_property
    def unweighted(self) -> Weighting:
        """The weighting that counts each image once."""
        return self.weighting(np.ones(len(self.labels)))

    def weighting(self, weights: npt.NDArray[np.float64]) -> Weighting:
        """Return the distribution functions if the images of each predicted label have this weight, (K,)."""
        of_values = weights[self.predicted]
        steps = np.zeros((len(self.names), self.size + 1))
        np.cumsum(of_values, axis=1, out=steps[:, 1:])
        totals = steps[:, -1:].copy()
        sums = (weights * self.class_counts).sum(), (weights**2 * self.class_counts).sum()
        return Weighting(weights, steps / totals, float(sums[0] ** 2 / sums[1]))


def to_reference(names: Sequence[str], rows: npt.NDArray[np.float64]) -> Reference:
    """Return the reference for rows of features, (M, F); the first columns are the labels' probabilities."""
    labels = tuple(label_of(name) for name in names[: count_labels(names)])
    order = np.argsort(rows, axis=0, kind="stable")
    ordered = np.ascontiguousarray(np.take_along_axis(rows, order, axis=0).T)
    return Reference(
        names=tuple(names),
        labels=labels,
        ordered=ordered,
        predicted=np.ascontiguousarray(predicted_labels(rows, len(labels))[order].T),
        quantiles=np.quantile(rows, QUANTILES, axis=0).T,
        error=float(stats.kstwo.isf(_EXCESS_PROBABILITY, len(rows))),
        class_counts=np.bincount(predicted_labels(rows, len(labels)), minlength=len(labels)),
        confidence=mean_confidence(rows, len(labels)),
        atoms=tuple(map(_atom, ordered)),
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


def estimate_accuracy(confidence: float, reference: Reference, reference_accuracy: float) -> float:
    """Estimate the accuracy, in [0, 1], on images with this mean confidence.

    The estimate is the accuracy on the reference plus the change of the mean confidence (the difference of confidences,
    Guillory et al. 2021). The confidence stays too high on images that differ much from the training images. So the
    estimate is too high after a large drop of the accuracy.
    """
    return min(1.0, max(0.0, reference_accuracy + confidence - reference.confidence))


def mean_confidence(rows: npt.NDArray[np.float64], labels: int) -> float:
    """Return the mean probability of the predicted label; the first `labels` columns are the probabilities."""
    return float(rows[:, :labels].max(axis=1).mean())


def predicted_labels(rows: npt.NDArray[np.float64], labels: int) -> npt.NDArray[np.intp]:
    """Return the index of the label predicted for each image, (N,); the first `labels` columns are probabilities."""
    return np.asarray(rows[:, :labels].argmax(axis=1))


def _group_ends(ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return `Reference.group_ends` for ordered values, (F, M)."""
    size = ordered.shape[1]
    is_inside = np.zeros((len(ordered), size + 1), bool)
    is_inside[:, 1:-1] = ordered[:, :-1] == ordered[:, 1:]
    ends = np.where(is_inside, size, np.arange(size + 1))
    return np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]


def _atom(ordered: npt.NDArray[np.float64]) -> Atom | None:
    """Return the most frequent value of an ordered sample, (M,), if it is frequent enough to be an atom."""
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    lengths = np.diff(np.append(begins, len(ordered)))
    longest = int(lengths.argmax())
    begin, length = int(begins[longest]), int(lengths[longest])
    if length < max(2.0, _ATOM_SHARE * len(ordered)):
        return None
    return Atom(float(ordered[begin]), begin, begin + length)
