"""Perceptual hash of an image: 64 bits, of which few change under compression, resizing or a change of light."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

_SIDE = 32  # width and height of the grey thumbnail in pixels
_LOWEST = slice(1, 9)  # frequencies 1 to 8 of an axis; frequency 0 is left out, because light changes it
_LEAST_RANGE = 8  # smallest range of grey levels; in a smaller range the bits are compression noise


def perceptual_hash(image: npt.NDArray[np.uint8]) -> int | None:
    """Return a hash of 64 bits, of which few differ for a distorted copy; None if the image is almost uniform.

    The cosine transform of a grey thumbnail has 64 coefficients at the frequencies 1 to 8 of both axes. Each bit says
    whether one coefficient is above the median of the 64 (pHash, Zauner 2010, "Implementation and Benchmarking of
    Perceptual Image Hash Functions"). If no two coefficients are equal, as in natural images, 32 bits are set, so two
    hashes differ in an even number of bits. A mirrored copy has a different hash.

    Args:
        image: (H, W, 3) uint8.
    """
    thumbnail = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(thumbnail, np.float64)
    if np.ptp(grey) < _LEAST_RANGE:
        return None
    frequencies = dctn(grey)[_LOWEST, _LOWEST]
    return int.from_bytes(np.packbits(frequencies > np.median(frequencies)).tobytes(), "big")
