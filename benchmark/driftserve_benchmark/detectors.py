"""Two detectors on one stream: the product's two horizons, and an e-process that may alarm at any observation."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import WINDOWS_IN_LONG, DriftPolicy
from driftserve.certification.population import Rows
from driftserve.drift.detection import is_drift
from driftserve.drift.reference import Reference

# The first alarm in a stream of features, (N, F), as a number of observations; None where there is none.
Detector = Callable[[Rows, Reference, DriftPolicy], int | None]

STAKES = (0.3, 0.8)  # of the capital, in each bet


def two_horizons(rows: Rows, reference: Reference, policy: DriftPolicy) -> int | None:
    """As `driftserve.drift.watch` has it: windows, and every five of them together."""
    size = policy.window_size
    for end in range(size, len(rows) + 1, size):
        begin = end - size * WINDOWS_IN_LONG
        if is_drift(rows[end - size : end], reference, policy.level) or (
            end % (size * WINDOWS_IN_LONG) == 0 and is_drift(rows[begin:end], reference, policy.long_level)
        ):
            return end
    return None


def e_process(rows: Rows, reference: Reference, policy: DriftPolicy, threshold: float | None = None) -> int | None:
    """The first time that the capital of `log_capital` reaches a threshold, its logarithm.

    By default it is the number of observations that are to lie between false alarms: no sooner does it get there
    without drift, on average.
    """
    if threshold is None:
        threshold = nominal_threshold(policy)
    is_reached = log_capital(rows, reference) >= threshold
    return int(is_reached.argmax()) + 1 if is_reached.any() else None


def nominal_threshold(policy: DriftPolicy) -> float:
    """The logarithm of the number of observations that are to lie between false alarms."""
    return float(np.log(policy.windows_between_false_alarms * policy.window_size))


def log_capital(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """The e-detector of Shin, Ramdas and Rinaldo (2022), of the form that CUSUM has, over all features and bets, (N,).

    A bet on a feature multiplies its capital by 1 + stake * payoff, where the payoff's mean without drift is at
    most zero: its rank in the reference or the rank's distance from the middle, up or down, less what the
    reference's error may add to the mean. What is given is the logarithm of the mean capital.
    """
    logarithms = _log_multipliers(rows, reference)
    bets = np.zeros(logarithms.shape[1])  # the logarithm of each one's capital
    capital = np.empty(len(logarithms))
    for number, step in enumerate(logarithms):
        bets = np.maximum(bets, 0.0) + step
        largest = bets.max()
        capital[number] = largest + np.log(np.exp(bets - largest).mean())
    return capital


def _log_multipliers(rows: Rows, reference: Reference) -> npt.NDArray[np.float64]:
    """The logarithm of what each observation does to the capital of each bet, (N, B)."""
    steps = []
    for column, ordered in zip(rows.T, reference.ordered, strict=True):
        ranks, own_ranks = _ranks(column, ordered), _ranks(ordered, ordered)
        # The payoffs, and how far each rises and falls: by how much an error of one would change its mean.
        for payoff, variation in ((_location, 2.0), (_spread, 3.0)):
            surplus = payoff(ranks) - payoff(own_ranks).mean()
            for side in (surplus, -surplus):
                steps += [1 + stake * (side - variation * reference.error) for stake in STAKES]
    return np.asarray(np.log(np.maximum(np.column_stack(steps), 1e-12)))


def _ranks(values: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The middle rank of each value in the reference, in [-1, 1]."""
    places = ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right")
    return np.asarray(places / len(ordered) - 1)


def _location(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ranks


def _spread(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The second polynomial of Legendre: -1/2 in the middle, 1 at both ends, 0 on average."""
    return np.asarray((3 * ranks**2 - 1) / 2)
