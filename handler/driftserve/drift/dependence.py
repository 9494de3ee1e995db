"""Estimates how much the images of a model's traffic depend on each other, and what that does to a window.

Neighbouring images are often alike: albums, video frames, a camera at one place. A window of dependent images varies
more than a window of independent ones, as if it had fewer images. The design effect (Kish 1965) is the ratio of the
two variances, and the effective number of images is their number divided by it.

It is estimated from the differences of neighbouring windows, not from the spread of all windows. So a slow change of
the traffic in that time does not look like dependence.

In the shapes below, F is the number of features and K of labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat
from scipy import stats

from driftserve.drift.reference import Reference
from driftserve.drift.window import WindowCounts

CALIBRATION_OBSERVATIONS = 10_000  # with fewer, the bounds are so wide that little power remains
LEAST_WINDOWS = 20

_CONFIDENCE = 0.95  # of the upper bounds of the design effects


@dataclass(frozen=True)
class DesignEffects:
    """The design effects of each feature, (F,), and of the mix of labels."""

    features: npt.NDArray[np.float64]
    mix: float

    def at_least_one(self, factor: float) -> "DesignEffects":
        """Return the effects times a factor, but at least 1: images are never worth more than their number."""
        return DesignEffects(np.maximum(1.0, factor * self.features), max(1.0, factor * self.mix))

    def exceed(self, others: "DesignEffects") -> bool:
        """Return whether any of these effects is larger than the other one."""
        return bool((self.features > others.features).any() or self.mix > others.mix)


def no_effects(reference: Reference) -> DesignEffects:
    """Return the design effects of images that are independent of each other."""
    return DesignEffects(np.ones(len(reference.names)), 1.0)


@dataclass(frozen=True)
class Differences:
    """What is known of neighbouring windows: the sums of squared differences of their means, and the last means.

    The means are those of the features' ranks, (F,), followed by the shares of the labels, (K,). From the ranks of
    input and confidence, the mean rank of the predicted label is subtracted: a change of the mix is tested elsewhere.
    """

    windows: int = 0
    sums: tuple[FiniteFloat, ...] = ()
    last: tuple[FiniteFloat, ...] = ()

    def added(self, window: WindowCounts, reference: Reference) -> "Differences":
        """Return what is known after the next window."""
        means = np.concatenate([_mean_ranks(window, reference), window.class_counts / window.observations])
        if self.windows == 0:
            return Differences(1, (0.0,) * len(means), tuple(means.tolist()))
        sums = np.array(self.sums) + (means - np.array(self.last)) ** 2
        return Differences(self.windows + 1, tuple(sums.tolist()), tuple(means.tolist()))


NO_DIFFERENCES = Differences()


def windows_to_calibrate(window_size: int) -> int:
    """Return the number of windows that a calibration takes."""
    return max(LEAST_WINDOWS, -(-CALIBRATION_OBSERVATIONS // window_size))


def design_effects(differences: Differences, window_size: int, reference: Reference) -> DesignEffects:
    """Return the estimates of the design effects, from at least two windows of this size."""
    features = len(reference.names)
    variances = window_size * np.array(differences.sums) / 2 / (differences.windows - 1)
    shares = reference.class_counts / reference.size
    is_predicted = shares > 0
    # The mean of the generalised design effects, for Rao and Scott's correction of the chi-square test (1981).
    of_mix = (variances[features:][is_predicted] / shares[is_predicted]).sum() / max(1, is_predicted.sum() - 1)
    return DesignEffects(variances[:features] / np.maximum(reference.rank_variances, 1e-12), float(of_mix))


def bound_factors(windows: int) -> tuple[float, float]:
    """Return the factors that make an estimate from this number of windows a lower and an upper 95 % bound.

    Differences of neighbouring windows share a window each, which costs a third of the degrees of freedom.
    """
    freedom = 2 / 3 * (windows - 1)
    lower, upper = (freedom / stats.chi2.ppf(probability, freedom) for probability in (_CONFIDENCE, 1 - _CONFIDENCE))
    return float(lower), float(upper)


def _mean_ranks(window: WindowCounts, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the mean rank of each feature in the reference, in [0, 1], (F,), corrected as in `Differences`."""
    places = np.arange(reference.size + 1)
    between = window.cells[:, ::2] @ places
    equal = (window.cells[:, 1::2] * (places[:-1] + reference.group_ends[:, 1:])).sum(axis=1) / 2
    means = (between + equal) / reference.size / window.observations
    of_labels = window.class_counts / window.observations @ reference.label_ranks
    labels = len(reference.labels)
    return np.append(means[:labels], (means - of_labels)[labels:])
