"""Computes eight statistics of an image's pixels, about its light, colours and detail."""

import numpy as np
import numpy.typing as npt

from driftserve.images.raster import BLOCK

IMAGE_STATISTICS = (
    "brightness",
    "contrast",
    "saturation",
    "clipping",
    "colour_detail",
    "sharpness",
    "roughness",
    "blocking",
)

_EPSILON = 1e-3  # grey levels, added before each logarithm, so that a flat image has finite values


def image_statistics(raster: npt.NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the values of `IMAGE_STATISTICS` for one image's raster: T tiles of H x W pixels, (T, H, W, 3) uint8.

    - Brightness, contrast: mean and standard deviation of the luma in [0, 255] (ITU-R BT.601, in 256ths).
    - Saturation: mean HSV saturation in [0, 1].
    - Clipping: share of pixels with a channel at 255. Brighter light raises it; blur and resizing lower it.

    The others are logarithms:

    - Colour detail: mean absolute difference of horizontal neighbours in R - G and B - G. Sensor noise raises it;
      chroma subsampling lowers it.
    - Sharpness: variance of the Laplacian (Pech-Pacheco et al. 2000).
    - Roughness: mean absolute second difference, divided by the mean absolute first difference. Noise raises it; the
      loss of high frequencies lowers it.
    - Blocking: lines 8 pixels apart can lie at eight positions. For each position, take the mean difference of the two
      pixels at the lines. The value is the largest of the eight, divided by their mean.
    """
    red, green, blue = (raster[..., channel].astype(np.int16) for channel in range(3))
    luma = (77 * red.astype(np.uint16) + 150 * green.astype(np.uint16) + 29 * blue.astype(np.uint16) >> 8).astype(
        np.int16
    )
    across, down = luma[:, :, 1:] - luma[:, :, :-1], luma[:, 1:] - luma[:, :-1]
    across_again, down_again = across[:, :, 1:] - across[:, :, :-1], down[:, 1:] - down[:, :-1]
    first = (_mean_absolute(across), _mean_absolute(down))
    second = (_mean_absolute(across_again), _mean_absolute(down_again))
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    saturation = (highest - lowest).astype(np.float32) / np.maximum(highest, 1).astype(np.float32)
    of_colour = (_mean_absolute(plane[:, :, 1:] - plane[:, :, :-1]) for plane in (red - green, blue - green))
    laplacian = across_again[:, 1:-1] + down_again[:, :, 1:-1]
    return (
        float(luma.mean()),
        float(_variance(luma) ** 0.5),
        float(saturation.mean()),
        float(np.count_nonzero(highest == 255) / highest.size),
        _log(_mean(*of_colour)),
        _log(_variance(laplacian)),
        _log(_mean(*second)) - _log(_mean(*first)),
        _blocking(first[0].mean(axis=0), first[1].mean(axis=1)),
    )


def _mean_absolute(differences: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Return the mean of the absolute values of differences, (T, H, W), over the T tiles; shape (H, W).

    The sum over the tiles fits int16: there are at most 16 tiles, and a difference is at most 510.
    """
    return np.asarray(np.abs(differences).sum(axis=0, dtype=np.int16) / len(differences))


def _mean(*parts: npt.NDArray[np.float64]) -> float:
    """Return the mean of the parts' means. The mean of an empty part is 0; an image of one pixel has empty parts."""
    return sum(float(part.mean()) if part.size else 0.0 for part in parts) / len(parts)


def _variance(values: npt.NDArray[np.int16]) -> float:
    if not values.size:
        return 0.0
    deviations = values.ravel().astype(np.float32)
    deviations -= deviations.mean()
    return float(deviations @ deviations / deviations.size)


def _blocking(*steps: npt.NDArray[np.float64]) -> float:
    """Return log(a / b): a at the strongest of the eight positions of an 8-pixel grid, b the mean of all eight."""
    strongest = average = 0.0
    for step in steps:
        if len(step) >= BLOCK:
            lines = [float(step[line::BLOCK].mean()) for line in range(BLOCK)]
            strongest += max(lines)
            average += sum(lines) / BLOCK
    return _log(strongest) - _log(average)


def _log(value: float) -> float:
    return float(np.log(value + _EPSILON))
