"""Noise corruptions: electronic noise, photon noise, and black and white values."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]  # (224, 224, 3), in [0, 1]

# One value for each severity.
STANDARD_DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
PHOTONS = (60, 25, 12, 5, 3)  # mean number of photons at full brightness
FLIPPED_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)  # share of the values that become black or white


def gaussian_noise(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Add normal noise with the same deviation everywhere."""
    return image + np.float32(STANDARD_DEVIATION[severity - 1]) * generator.standard_normal(image.shape, np.float32)


def shot_noise(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Replace each value by a Poisson-distributed number of photons with the same mean brightness."""
    photons = PHOTONS[severity - 1]
    return (generator.poisson(image * photons) / np.float32(photons)).astype(np.float32)


def impulse_noise(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Set random values to 0 or 1, as many to either, independently in the three channels (salt and pepper noise)."""
    share = FLIPPED_SHARE[severity - 1]
    chance = generator.random(image.shape, np.float32)
    return np.where(chance < share, (chance < share / 2).astype(np.float32), image)
