"""Slices show where a network fails: its accuracy on small and large images, on dark and bright ones, and so on."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from driftserve.images.raster import to_raster
from driftserve.images.statistics import IMAGE_STATISTICS, image_statistics
from driftserve_training.evaluation.document import Slice
from driftserve_training.evaluation.intervals import mean_interval

STATISTICS = ("brightness", "contrast", "sharpness")  # those of the watched image statistics that are easy to grasp
ATTRIBUTES = ("pixels", *STATISTICS)

_NAMES = ("low", "middle", "high")


def slices_of(
    images: Iterable[npt.NDArray[np.uint8]],
    probabilities: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    seed: int,
) -> tuple[Slice, ...]:
    """Return the accuracy on thirds of the images, once for each attribute.

    Args:
        images: N decoded images, (H, W, 3) each.
        probabilities: (N, K), of the images for K classes.
        targets: (N,), the true class indices.
        seed: seed of the intervals.
    """
    is_right = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    values = np.array([_attributes(image) for image in images])
    return tuple(
        Slice(
            attribute=attribute,
            part=_NAMES[part],
            low=float(column[inside].min()),
            high=float(column[inside].max()),
            images=int(inside.sum()),
            accuracy=mean_interval(is_right[inside], seed),
        )
        for attribute, column in zip(ATTRIBUTES, values.T, strict=True)
        for part in range(len(_NAMES))
        if (inside := _parts(column) == part).any()
    )


def _attributes(image: npt.NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the values of `ATTRIBUTES` for an image; the code that watches for drift computes the statistics."""
    statistics = dict(zip(IMAGE_STATISTICS, image_statistics(to_raster(image)), strict=True))
    return (image.shape[0] * image.shape[1], *(statistics[name] for name in STATISTICS))


def _parts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the third, 0, 1 or 2, that each value is in.

    If most values are equal, 0 means below that value, 1 equal to it, and 2 above it.
    """
    lower, upper = np.quantile(values, [1 / 3, 2 / 3])
    return np.where(values < lower, 0, np.where(values > upper, 2, 1))
