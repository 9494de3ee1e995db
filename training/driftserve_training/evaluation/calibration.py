"""Calibration: how well probabilities match the accuracy, and a temperature that improves it (Guo et al. 2017)."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from driftserve.inference.prediction import calibrate
from driftserve_training.evaluation.document import Calibration, ReliabilityBin

_BINS = 15  # number of bins of equal width, as in Guo et al. 2017
_LEAST_PROBABILITY = 1e-300  # keeps the logarithm of an impossible label finite


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Return the temperature in [0.05, 20] that maximises the likelihood of held-out images.

    Each target counts as wrong with probability 1 / (N + 2) (Platt 1999). Without this, a network
    that makes no mistake on a few images would count as certain.

    Args:
        logits: (N, K), of N images that the network was not trained on, for K classes.
        targets: (N,) class indices.
    """
    number, classes = logits.shape
    doubt = 1.0 / (number + 2)
    soft_targets = np.full((number, classes), doubt / (classes - 1))
    soft_targets[np.arange(number), targets] = 1.0 - doubt

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = calibrate(logits, float(np.exp(log_temperature)))
        return float(-(soft_targets * np.log(np.maximum(probabilities, _LEAST_PROBABILITY))).sum(axis=1).mean())

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def measure_calibration(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> Calibration:
    """Measure how well the probabilities of N images and K classes, (N, K), match the class indices, (N,).

    The expected calibration error uses the bins of `reliability`. torchmetrics has a sixteenth bin, for probabilities
    that single precision rounds to 1; if that bin is empty, the results agree.
    """
    number = len(targets)
    target_probabilities = probabilities[np.arange(number), targets]
    # In each row, sum (p - t)^2 = sum p^2 - 2 p_t + 1.
    brier = (probabilities**2).sum(axis=1) - 2 * target_probabilities + 1
    bins = reliability(probabilities, targets)
    return Calibration(
        ece=sum(one.images * abs(one.accuracy - one.confidence) for one in bins) / number,
        brier=float(brier.mean()),
        nll=float(-np.log(np.maximum(target_probabilities, _LEAST_PROBABILITY)).mean()),
    )


def reliability(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    """Group the images by their highest probability into 15 bins of equal width; leave out empty bins."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == targets
    ends = np.linspace(0, 1, _BINS + 1)
    places = np.searchsorted(ends, confidence, side="left") - 1  # a bin is (low, high]
    return tuple(
        ReliabilityBin(
            low=float(ends[place]),
            high=float(ends[place + 1]),
            images=int(is_in_bin.sum()),
            confidence=float(confidence[is_in_bin].mean()),
            accuracy=float(is_right[is_in_bin].mean()),
        )
        for place in range(_BINS)
        if (is_in_bin := places == place).any()
    )
