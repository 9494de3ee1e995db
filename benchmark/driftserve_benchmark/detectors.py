"""The two detectors that are compared: the product's, with two window lengths, and an e-process.

An e-process can raise an alarm at any observation, not only at the end of a window.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import WINDOWS_IN_LONG, DriftPolicy
from driftserve.certification.population import Rows
from driftserve.drift.detection import is_drift
from driftserve.drift.reference import Reference

# Returns after how many observations of a stream, (N, F), the first alarm comes; None if there is no alarm.
Detector = Callable[[Rows, Reference, DriftPolicy], int | None]

STAKES = (0.3, 0.8)  # shares of the capital, one for each bet


def two_horizons(rows: Rows, reference: Reference, policy: DriftPolicy) -> int | None:
    """Return the first alarm of the product: it tests each window, and every five windows together.

    `driftserve.drift.watch` does the same.
    """
    size = policy.window_size
    for end in range(size, len(rows) + 1, size):
        begin = end - size * WINDOWS_IN_LONG
        if is_drift(rows[end - size : end], reference, policy.level) or (
            end % (size * WINDOWS_IN_LONG) == 0 and is_drift(rows[begin:end], reference, policy.long_level)
        ):
            return end
    return None


def e_process(rows: Rows, reference: Reference, policy: DriftPolicy, threshold: float | None = None) -> int | None:
    """Return after how many observations `log_capital` first reaches a threshold, or None.

    The threshold is a logarithm too. Its default is `nominal_threshold`: without drift, the mean number of observations
    that it takes to reach this threshold is at least the intended one.
    """
    if threshold is None:
        threshold = nominal_threshold(policy)
    is_reached = log_capital(rows, reference) >= threshold
    return int(is_reached.argmax()) + 1 if is_reached.any() else None


def nominal_threshold(policy: DriftPolicy) -> float:
    """Return the logarithm of the number of observations intended between two false alarms."""
    return float(np.log(policy.windows_between_false_alarms * policy.window_size))


def log_capital(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the logarithm of the mean capital over all features and bets, after each observation, (N,).

    This is the e-detector of Shin, Ramdas and Rinaldo (2022) in its CUSUM form. A bet on a feature multiplies its
    capital by 1 + stake * payoff. The payoff is the rank in the reference, or the distance of the rank from the
    middle, with a plus or a minus sign. The reference is a sample, so its possible error is subtracted: without drift
    the mean payoff is then at most zero.
    """
    logarithms = _log_multipliers(rows, reference)
    bets = np.zeros(logarithms.shape[1])  # logarithm of the capital of each bet
    capital = np.empty(len(logarithms))
    for number, step in enumerate(logarithms):
        bets = np.maximum(bets, 0.0) + step
        largest = bets.max()
        capital[number] = largest + np.log(np.exp(bets - largest).mean())
    return capital


def _log_multipliers(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the logarithm of the factor by which each observation multiplies the capital of each bet, (N, B)."""
    steps = []
    for column, ordered in zip(rows.T, reference.ordered, strict=True):
        ranks, own_ranks = _ranks(column, ordered), _ranks(ordered, ordered)
        # Each payoff with its total variation: the most that an error of 1 in the reference can change its mean.
        for payoff, variation in ((_location, 2.0), (_spread, 3.0)):
            surplus = payoff(ranks) - payoff(own_ranks).mean()
            for side in (surplus, -surplus):
                steps += [1 + stake * (side - variation * reference.error) for stake in STAKES]
    return np.asarray(np.log(np.maximum(np.column_stack(steps), 1e-12)))


def _ranks(values: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the middle rank of each value in the reference, in [-1, 1]."""
    places = ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right")
    return np.asarray(places / len(ordered) - 1)


def _location(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ranks


def _spread(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the second Legendre polynomial: -1/2 in the middle, 1 at both ends, 0 on average."""
    return np.asarray((3 * ranks**2 - 1) / 2)
