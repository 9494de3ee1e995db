"""Turns the model's logits into calibrated probabilities and a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Prediction:
    """The most probable label, its probability, and the probability of every label."""

    label: str
    score: float
    probabilities: dict[str, float]


def calibrate(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Return the softmax of logits / temperature, shape (N, K), for N images and K labels.

    The result has double precision, because single precision would round a confident model's probabilities to 1.0, and
    equal values make the drift test less sensitive. Source: Guo et al. 2017, temperature scaling.

    >>> calibrate(np.zeros((1, 4), np.float32), 1.0).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def to_prediction(probabilities: npt.NDArray[np.float64], labels: Sequence[str]) -> Prediction:
    """Return the prediction for one image's probabilities, shape (K,), one per label."""
    best = int(probabilities.argmax())
    return Prediction(
        label=labels[best],
        score=float(probabilities[best]),
        probabilities=dict(zip(labels, probabilities.tolist(), strict=True)),
    )
