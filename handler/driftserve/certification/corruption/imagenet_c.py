"""Corrupts images as ImageNet-C does (Hendrycks and Dietterich 2019), to measure a drift detector.

There are fifteen corruptions, at five severities. They are rewritten for numpy, scipy and Pillow, with the constants of
the original, the 224x224 data set's `make_imagenet_c.py`. Use them for evaluation only: a model that is trained on them
cannot be measured with them. Four things differ from the original. `frost` uses a drawn texture instead of
photographs, `glass_blur` swaps pixels (the original copies one over the other), motion blur does not use ImageMagick,
and no result is saved as JPEG afterwards.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import ImageSpec
from driftserve.certification.corruption import blur, digital, noise, weather
from driftserve.images.preprocess import preprocess

SIDE = 224  # pixels
SEVERITIES = (1, 2, 3, 4, 5)

# Added to each grey level before truncation: rounding in float32 can turn 100 into 99.9999, which would become 99.
_ROUNDING = 1e-3

# An image in [0, 1], (224, 224, 3) float32; a severity; a random generator -> an image of any range.
Corrupt = Callable[[npt.NDArray[np.float32], int, np.random.Generator], npt.NDArray[np.float32]]

_CORRUPT: Mapping[str, Corrupt] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
CORRUPTIONS = tuple(_CORRUPT)

_SPEC = ImageSpec(height=SIDE, width=SIDE, resize_shorter_side=SIDE, interpolation="bilinear")


def standardise(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the centre of a decoded image, (H, W, 3) uint8, in the size for the corruptions, (224, 224, 3) uint8."""
    return np.ascontiguousarray(preprocess([image], _SPEC)[0].transpose(1, 2, 0))


def corrupt(image: npt.NDArray[np.uint8], name: str, severity: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return a corrupted copy of an image. The same arguments give the same copy.

    Args:
        image: A result of `standardise`, (224, 224, 3) uint8.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: Seed of the random generator; use a different seed for each image.

    Raises:
        ValueError: There is no such corruption or severity, or the image has another shape.
    """
    if name not in _CORRUPT:
        raise ValueError(f"expected one of {', '.join(CORRUPTIONS)}, got {name!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity of 1 to 5, got {severity!r}")
    if image.shape != (SIDE, SIDE, 3) or image.dtype != np.uint8:
        raise ValueError(f"expected an image ({SIDE}, {SIDE}, 3) of uint8, got {image.shape} of {image.dtype}")
    generator = np.random.default_rng((seed, CORRUPTIONS.index(name), severity))
    changed = _CORRUPT[name](image.astype(np.float32) / np.float32(255), severity, generator)
    return np.asarray(changed.clip(0, 1) * 255 + _ROUNDING, np.uint8)  # truncates, as the original does
