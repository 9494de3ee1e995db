"""Computes the features of images and their predictions. The monitor watches the features' distribution for drift."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import PROBABILITY_PREFIX
from driftserve.drift.report import Shift
from driftserve.images.statistics import IMAGE_STATISTICS, image_statistics

_CONFIDENCE = ("margin", "entropy")


def feature_names(labels: Sequence[str], embedding_size: int) -> tuple[str, ...]:
    """Return the names of the columns of `features`, in order."""
    return (
        *(f"{PROBABILITY_PREFIX}{label}" for label in labels),
        *_CONFIDENCE,
        *(f"embedding.{component}" for component in range(embedding_size)),
        *IMAGE_STATISTICS,
    )


def count_labels(names: Sequence[str]) -> int:
    """Return the number of columns that are label probabilities; these columns come first."""
    return sum(name.startswith(PROBABILITY_PREFIX) for name in names)


def label_of(feature: str) -> str:
    """Return the label of a feature that is a label's probability."""
    return feature.removeprefix(PROBABILITY_PREFIX)


def shift_of(feature: str) -> Shift:
    """Return the kind of shift that this feature shows: in the images, the predicted labels, or the confidence.

    >>> shift_of("blocking"), shift_of("probability.sea"), shift_of("margin")
    ('input', 'label', 'confidence')
    """
    if feature.startswith(PROBABILITY_PREFIX):
        return "label"
    return "confidence" if feature in _CONFIDENCE else "input"


def features(
    rasters: Sequence[npt.NDArray[np.uint8]],
    probabilities: npt.NDArray[np.float64],
    embedding: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the features of a batch of N images, shape (N, F), with the F columns of `feature_names`.

    Args:
        rasters: Results of `to_raster` for the decoded images.
        probabilities: Calibrated probabilities, (N, K) for K labels.
        embedding: The model's embedding, (N, E) with E components.
    """
    return np.column_stack(
        [
            probabilities,
            _margin(probabilities),
            _entropy(probabilities),
            embedding.astype(np.float64),
            np.array([image_statistics(raster) for raster in rasters]),
        ]
    )


def _margin(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the difference between the two highest probabilities, in [0, 1], shape (N,)."""
    top_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top_two[:, 1] - top_two[:, 0])


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the Shannon entropy in nats, shape (N,)."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1))
