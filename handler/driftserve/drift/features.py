"""The numbers of an image and its prediction whose distribution is watched for drift."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import PROBABILITY_PREFIX
from driftserve.drift.report import Shift
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

_CONFIDENCE = ("margin", "entropy")
_NOTHING = 1e-3  # of a grey level; keeps the logarithms of a flat image finite


def feature_names(labels: Sequence[str], embedding_size: int) -> tuple[str, ...]:
    """The columns of `features`, in order."""
    return (
        *(f"{PROBABILITY_PREFIX}{label}" for label in labels),
        *_CONFIDENCE,
        *(f"embedding.{component}" for component in range(embedding_size)),
        *IMAGE_STATISTICS,
    )


def count_labels(names: Sequence[str]) -> int:
    """How many of the columns, the first ones, are the labels' probabilities."""
    return sum(name.startswith(PROBABILITY_PREFIX) for name in names)


def label_of(feature: str) -> str:
    """The label whose probability this feature is."""
    return feature.removeprefix(PROBABILITY_PREFIX)


def shift_of(feature: str) -> Shift:
    """What has shifted where this feature has: the pictures, what they are taken for, or how surely.

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
    """The features of a batch, shape (N, F) with the columns of `feature_names`.

    Args:
        rasters: of the decoded images, each as `to_raster` gives it.
        probabilities: calibrated, (N, K).
        embedding: the graph's second output, (N, E).
    """
    return np.column_stack(
        [
            probabilities,
            _margin(probabilities),
            _entropy(probabilities),
            embedding.astype(np.float64),
            np.array([_image_statistics(raster) for raster in rasters]),
        ]
    )


def _margin(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The most probable label's lead over the second, in [0, 1], shape (N,)."""
    top_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top_two[:, 1] - top_two[:, 0])


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shannon entropy in nats, shape (N,)."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1))


def _image_statistics(raster: npt.NDArray[np.uint8]) -> tuple[float, ...]:
    """The values of `IMAGE_STATISTICS` for one image's raster, (T, H, W, 3) uint8.

    Brightness and contrast are the luma's mean and standard deviation in [0, 255] (ITU-R BT.601, in
    256ths); saturation is the mean HSV saturation in [0, 1]; clipping the share of pixels with a
    channel at 255, which a brighter light raises and everything that mixes pixels lowers.

    The rest are logarithms. Colour detail: mean absolute difference of neighbours in R - G and B - G, which
    sensors' noise raises and chroma subsampling lowers. Sharpness: variance of the Laplacian
    (Pech-Pacheco et al. 2000). Roughness: mean absolute second difference over the first's, which noise raises and
    the loss of high frequencies lowers. Blocking: difference of neighbours across the strongest of the
    eight lines of an 8-pixel grid over that across all of them, wherever a JPEG's blocks begin.
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
    """The mean absolute difference at each place of a tile, (H, W), over the tiles, (T, H, W): at most 16 of 1,020."""
    return np.asarray(np.abs(differences).sum(axis=0, dtype=np.int16) / len(differences))


def _mean(*parts: npt.NDArray[np.float64]) -> float:
    """The mean of the parts' means; 0 for a part that is empty, as in an image of one pixel."""
    return sum(float(part.mean()) if part.size else 0.0 for part in parts) / len(parts)


def _variance(values: npt.NDArray[np.int16]) -> float:
    if not values.size:
        return 0.0
    deviations = values.ravel().astype(np.float32)
    deviations -= deviations.mean()
    return float(deviations @ deviations / deviations.size)


def _blocking(*steps: npt.NDArray[np.float64]) -> float:
    """How much stronger the strongest line of an 8-pixel grid is than all, as a logarithm."""
    strongest = average = 0.0
    for step in steps:
        if len(step) >= BLOCK:
            lines = [float(step[line::BLOCK].mean()) for line in range(BLOCK)]
            strongest += max(lines)
            average += sum(lines) / BLOCK
    return _log(strongest) - _log(average)


def _log(value: float) -> float:
    return float(np.log(value + _NOTHING))
