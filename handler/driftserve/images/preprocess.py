"""Turns decoded images into the network's input, by the same function for training, evaluation and serving."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from driftserve.archive.contract import ImageSpec

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(images: Sequence[npt.NDArray[np.uint8]], spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """Return RGB images, each (H, W, 3) uint8 of any size, as one batch (N, 3, height, width) uint8.

    The centre is cut out and resized in one step. The result corresponds to timm's evaluation transform: resize the
    shorter side to `spec.resize_shorter_side`, then crop the centre. The batch is stored channels last (a transposed
    view), the layout in which the network runs fastest.
    """
    batch = np.empty((len(images), spec.height, spec.width, 3), np.uint8)
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        scale = min(height, width) / spec.resize_shorter_side
        left, right = _centred(width, spec.width * scale)
        top, bottom = _centred(height, spec.height * scale)
        batch[index] = np.asarray(
            Image.fromarray(image).resize(
                (spec.width, spec.height), _RESAMPLING[spec.interpolation], box=(left, top, right, bottom)
            )
        )
    return batch.transpose(0, 3, 1, 2)


def _centred(length: int, part: float) -> tuple[float, float]:
    """Return start and end of the centred part of a side; rounding must not move either over the edge."""
    start = max(0.0, (length - part) / 2)
    return start, min(float(length), start + part)
