"""What an image looks like, in 64 bits that survive compression, resizing and a change of light."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

_SIDE = 32  # of the grey thumbnail, in pixels
_LOWEST = slice(1, 9)  # of the frequencies of each axis; 0 is the mean, which light changes
_LEAST_RANGE = 8  # grey levels; with less the bits are a compressor's noise


def perceptual_hash(image: npt.NDArray[np.uint8]) -> int | None:
    """The 64 bits of a picture, of which few differ in a distorted copy; None where there is nothing to see.

    Each bit says whether one of the 8x8 lowest frequencies of the cosine transform is above the median of them (pHash,
    Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"). Half of the bits are set, so
    two hashes differ in an even number. A mirrored copy has another hash.

    Args:
        image: (H, W, 3) uint8.
    """
    thumbnail = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(thumbnail, np.float64)
    if np.ptp(grey) < _LEAST_RANGE:
        return None
    frequencies = dctn(grey)[_LOWEST, _LOWEST]
    return int.from_bytes(np.packbits(frequencies > np.median(frequencies)).tobytes(), "big")
