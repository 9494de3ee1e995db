"""What calibrated confidence says of accuracy where there are no labels."""

import numpy as np
import numpy.typing as npt

from driftserve.drift.detection import Reference, mean_confidence


def estimate_accuracy(rows: npt.NDArray[np.float64], reference: Reference, reference_accuracy: float) -> float:
    """The accuracy, in [0, 1], that rows of features, (N, F), would have.

    The reference's accuracy less what the mean confidence has fallen by (the difference of confidences,
    Guillory et al. 2021). Far from the training images a network stays too sure of itself: great falls are
    underestimated.
    """
    change = mean_confidence(rows, len(reference.labels)) - reference.confidence
    return min(1.0, max(0.0, reference_accuracy + change))
