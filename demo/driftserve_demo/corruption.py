"""Gaussian noise, as in ImageNet-C (Hendrycks and Dietterich 2019), that the demo adds to images so that they drift."""

import numpy as np
import numpy.typing as npt

KIND = "gaussian_noise"
SEVERITY = 3
# For each severity: standard deviation of the noise, for pixels in [0, 1]. From ImageNet-C's make_imagenet_c.py.
_STANDARD_DEVIATION = {1: 0.08, 2: 0.12, 3: 0.18, 4: 0.26, 5: 0.38}


def gaussian_noise(
    image: npt.NDArray[np.uint8], severity: int, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the image, (H, W, 3) uint8, with the noise of an ImageNet-C severity, 1 to 5."""
    noise = generator.normal(0.0, _STANDARD_DEVIATION[severity], image.shape)
    return np.asarray(255 * (image / 255.0 + noise).clip(0, 1), np.uint8)
