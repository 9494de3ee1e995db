"""The numbers of an image and its prediction whose distribution is watched for drift."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IMAGE_STATISTICS = ("brightness", "contrast", "saturation", "sharpness")

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def feature_names(labels: Sequence[str], embedding_size: int) -> tuple[str, ...]:
    """The columns of `features`, in order."""
    return (
        *(f"probability.{label}" for label in labels),
        "margin",
        "entropy",
        *(f"embedding.{component}" for component in range(embedding_size)),
        *IMAGE_STATISTICS,
    )


def features(
    pixels: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float64], embedding: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """The features of a batch, shape (N, F) with the columns of `feature_names`.

    Args:
        pixels: the network's input, (N, 3, H, W) uint8.
        probabilities: calibrated, (N, K).
        embedding: the graph's second output, (N, E).
    """
    return np.column_stack(
        [
            probabilities,
            _margin(probabilities),
            _entropy(probabilities),
            embedding.astype(np.float64),
            np.array([_image_statistics(image.transpose(1, 2, 0)) for image in pixels]),
        ]
    )


def _margin(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The most probable label's lead over the second, in [0, 1], shape (N,)."""
    top_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top_two[:, 1] - top_two[:, 0])


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shannon entropy in nats, shape (N,)."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1))


def _image_statistics(image: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """The values of `IMAGE_STATISTICS` for one image, (H, W, 3) uint8.

    Brightness and contrast are the luma's mean and standard deviation in [0, 255]; saturation is
    the mean HSV saturation in [0, 1]; sharpness is the log variance of the luma's Laplacian
    (Pech-Pacheco et al. 2000).
    """
    red, green, blue = (np.ascontiguousarray(image[:, :, channel]) for channel in range(3))
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue  # (H, W) float32
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    highest = np.maximum(np.maximum(red, green), blue)  # by planes, which numpy does faster than axis=2
    chroma = highest - np.minimum(np.minimum(red, green), blue)
    saturation = np.divide(chroma, np.maximum(highest, 1), dtype=np.float32)
    return (
        float(luma.mean()),
        float(luma.std()),
        float(saturation.mean()),
        float(np.log(laplacian.var() + 1e-6)),
    )
