"""Temperature scaling: probabilities that mean what they say (Guo et al. 2017)."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from driftserve.prediction import calibrate


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """The temperature in [0.05, 20] that makes held-out images most likely.

    Each target counts as wrong with probability 1 / (N + 2) (Platt 1999), so that a network that
    errs on none of a few images is not taken to be certain.

    Args:
        logits: (N, K), of images that the network was not trained on.
        targets: (N,) class indices.
    """
    number, classes = logits.shape
    doubt = 1.0 / (number + 2)
    soft_targets = np.full((number, classes), doubt / (classes - 1))
    soft_targets[np.arange(number), targets] = 1.0 - doubt

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = calibrate(logits, float(np.exp(log_temperature)))
        return float(-(soft_targets * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1).mean())

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))
