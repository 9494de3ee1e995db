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
from driftserve.drift.window import count_rows

# Takes a stream of N observations of F features, (N, F). Returns the number of observations up to the first alarm; None
# if there is no alarm.
Detector = Callable[[Rows, Reference, DriftPolicy], int | None]

STAKES = (0.3, 0.8)  # shares of the capital that the bets stake; there is a bet for each share


def two_horizons(rows: Rows, reference: Reference, policy: DriftPolicy) -> int | None:
    """Return the number of observations up to the first alarm of the product, or None.

    As in `driftserve.drift.watch`, each window is tested, and every five windows are tested together.
    """
    size = policy.window_size
    for end in range(size, len(rows) + 1, size):
        begin = end - size * WINDOWS_IN_LONG
        if is_drift(count_rows(rows[end - size : end], reference), reference, policy.level) or (
            end % (size * WINDOWS_IN_LONG) == 0
            and is_drift(count_rows(rows[begin:end], reference), reference, policy.long_level)
        ):
            return end
    return None


def e_process(rows: Rows, reference: Reference, policy: DriftPolicy, threshold: float | None = None) -> int | None:
    """Return the number of observations after which `log_capital` first reaches a threshold, or None.

    The threshold is a logarithm too. The default is `nominal_threshold`. Without drift, the capital needs on average
    at least the intended number of observations to reach it.
    """
    if threshold is None:
        threshold = nominal_threshold(policy)
    is_reached = log_capital(rows, reference) >= threshold
    return int(is_reached.argmax()) + 1 if is_reached.any() else None


def nominal_threshold(policy: DriftPolicy) -> float:
    """Return the logarithm of the number of observations intended between two false alarms."""
    return float(np.log(policy.windows_between_false_alarms * policy.window_size))


def log_capital(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the logarithm of the mean capital of all bets on all features, after each of N observations, (N,).

    This is the e-detector of Shin, Ramdas and Rinaldo (2022) in its CUSUM form. A bet on a feature multiplies its
    capital by 1 + stake * payoff. The payoff is the rank of the value in the reference, or the distance of that rank
    from the middle, with a plus or a minus sign. The reference is a sample, so the possible error of the rank is
    subtracted. Without drift, the mean payoff is then at most zero.
    """
    logarithms = _log_multipliers(rows, reference)
    bets = np.zeros(logarithms.shape[1])  # logarithm of each bet's capital
    capital = np.empty(len(logarithms))
    for number, step in enumerate(logarithms):
        bets = np.maximum(bets, 0.0) + step
        largest = bets.max()
        capital[number] = largest + np.log(np.exp(bets - largest).mean())
    return capital


def _log_multipliers(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the logarithm of the factor by which each of N observations multiplies each of B capitals, (N, B)."""
    steps = []
    for column, ordered in zip(rows.T, reference.ordered, strict=True):
        ranks, own_ranks = _ranks(column, ordered), _ranks(ordered, ordered)
        # Each payoff has its total variation, the largest change of its mean if the reference is wrong by 1.
        for payoff, variation in ((_location, 2.0), (_spread, 3.0)):
            surplus = payoff(ranks) - payoff(own_ranks).mean()
            for side in (surplus, -surplus):
                steps += [1 + stake * (side - variation * reference.error) for stake in STAKES]
    return np.asarray(np.log(np.maximum(np.column_stack(steps), 1e-12)))


def _ranks(values: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rank of each value in the reference, scaled to [-1, 1]; equal values get their mean rank."""
    places = ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right")
    return np.asarray(places / len(ordered) - 1)


def _location(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ranks


def _spread(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the second Legendre polynomial: -1/2 in the middle, 1 at both ends, 0 on average."""
    return np.asarray((3 * ranks**2 - 1) / 2)
