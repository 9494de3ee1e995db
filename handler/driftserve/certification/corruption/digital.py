"""Digital corruptions: low contrast, elastic distortion, coarse pixels, strong compression.

In the comments, "the original" is ImageNet-C's script `make_imagenet_c.py`, which these functions reproduce.
"""

from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from scipy import ndimage

Image = npt.NDArray[np.float32]  # (224, 224, 3), in [0, 1]

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # for each severity: multiplies a pixel's difference from the mean
# For each severity, in pixels: length and smoothing (sigma) of the displacements, and how far the affine part moves its
# three points. 244 is not a mistake for 224: the original uses it.
ELASTIC = (
    (244 * 2.0, 244 * 0.7, 244 * 0.1),
    (244 * 2.0, 244 * 0.08, 244 * 0.2),
    (244 * 0.05, 244 * 0.01, 244 * 0.02),
    (244 * 0.07, 244 * 0.01, 244 * 0.02),
    (244 * 0.12, 244 * 0.01, 244 * 0.02),
)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)  # for each severity: side of the shrunk image, divided by the image's side
JPEG_QUALITY = (25, 18, 15, 10, 7)  # for each severity: the quality of the JPEG

_TRUNCATE = 3.0  # the smoothing's radius, in standard deviations


def contrast(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Move each channel towards its mean."""
    mean = image.mean(axis=(0, 1), dtype=np.float64, keepdims=True).astype(np.float32)
    return np.asarray((image - mean) * np.float32(CONTRAST[severity - 1]) + mean)


def elastic_transform(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Distort the image by an affine map, then by smooth local displacements (Simard et al. 2003)."""
    length, smoothing, jitter = ELASTIC[severity - 1]
    return _displaced(_affine(image, jitter, generator), displacements(image.shape[0], length, smoothing, generator))


def displacements(
    side: int, length: float, smoothing: float, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return for each pixel the offset (right, down), in pixels, from which its new value is read; (2, side, side)."""
    smooth = _smooth(side, smoothing)
    return np.asarray(length * (smooth @ generator.uniform(-1, 1, (2, side, side)) @ smooth.T), np.float32)


@cache  # the widest kernel has a thousand points, which takes 0.1 s an image without a cache
def _smooth(side: int, smoothing: float) -> npt.NDArray[np.float64]:
    """Return the matrix, (side, side), that smooths columns by a Gaussian, with reflected edges."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(side), smoothing, 0, mode="reflect", truncate=_TRUNCATE))


def _affine(image: Image, jitter: float, generator: np.random.Generator) -> Image:
    """Apply an affine map that moves three points around the image's centre at random."""
    side = image.shape[0]
    centre, reach = side // 2, side // 3
    points = np.array([[centre + reach] * 2, [centre + reach, centre - reach], [centre - reach] * 2], np.float64)
    moved = points + generator.uniform(-jitter, jitter, points.shape)  # (x, y) each
    backward = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)  # (3, 2): from moved to original
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    x, y = (backward[0, axis] * across + backward[1, axis] * down + backward[2, axis] for axis in range(2))
    return _sampled(image, y, x, "mirror")


def _displaced(image: Image, moves: npt.NDArray[np.float32]) -> Image:
    down, across = np.meshgrid(*map(np.arange, image.shape[:2]), indexing="ij")
    return _sampled(image, down + moves[1], across + moves[0], "reflect")


def _sampled(image: Image, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64], mode: str) -> Image:
    places = np.stack([rows, columns])
    channels = [
        ndimage.map_coordinates(np.ascontiguousarray(image[:, :, channel]), places, order=1, mode=mode)
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=2)


def pixelate(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Shrink the image and enlarge it again, with a box filter."""
    side = image.shape[0]
    small = int(side * PIXELATE[severity - 1])
    box = PillowImage.Resampling.BOX
    return _from_pillow(_to_pillow(image).resize((small, small), box).resize((side, side), box))


def jpeg_compression(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Encode the image as a JPEG of low quality, and decode it."""
    buffer = BytesIO()
    _to_pillow(image).save(buffer, "JPEG", quality=JPEG_QUALITY[severity - 1])
    return _from_pillow(PillowImage.open(buffer))


def _to_pillow(image: Image) -> PillowImage.Image:
    return PillowImage.fromarray(np.rint(image * 255).astype(np.uint8))


def _from_pillow(image: PillowImage.Image) -> Image:
    return np.asarray(image, np.float32) / np.float32(255)
