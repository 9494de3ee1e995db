"""Weather corruptions: snow, frost on the lens, fog, and brightness.

The original below is ImageNet-C's `make_imagenet_c.py`.
"""

import numpy as np
import numpy.typing as npt

from driftserve.certification.corruption.blur import enlarge, smear

Image = npt.NDArray[np.float32]  # (224, 224, 3), in [0, 1]

# For each severity: mean, standard deviation, enlargement and threshold of the flakes; radius and sigma of their smear,
# in pixels; the unwhitened image's share.
SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # for each severity: factors of image and frost
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # for each severity: thickness, decay of the plasma
BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)  # for each severity: what is added to the value of HSV

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_PLASMA_SIDE = 256
_FROST_COLOUR = np.array([0.86, 0.93, 1.0], np.float32)


def snow(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Whiten the image and draw falling flakes on it."""
    mean, deviation, enlargement, threshold, radius, sigma, share = SNOW[severity - 1]
    flakes = generator.normal(mean, deviation, image.shape[:2]).astype(np.float32)
    flakes = enlarge(flakes[:, :, None], enlargement)
    flakes = np.where(flakes < threshold, np.float32(0), flakes).clip(0, 1)
    fallen = smear(flakes, int(radius), sigma, generator.uniform(-135, -45))
    whitened = np.maximum(image, (image @ _LUMA)[:, :, None] * np.float32(1.5) + np.float32(0.5))
    covered = np.float32(share) * image + np.float32(1 - share) * whitened
    return np.asarray(covered + fallen + np.rot90(fallen, 2))


def frost(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Add ice crystals, as on a lens.

    The frost is generated, because the original's photographs of frost are not part of this package. The factors are
    the original's.
    """
    own, ice = FROST[severity - 1]
    return np.asarray(np.float32(own) * image + np.float32(ice) * frost_texture(image.shape[0], generator))


def frost_texture(side: int, generator: np.random.Generator) -> Image:
    """Return a texture of ice in [0, 1], (side, side, 3): bright ridges where one of two plasmas is near 0.5."""
    ridges = [1 - np.abs(2 * plasma(decay, generator)[:side, :side] - 1) for decay in (1.7, 1.3)]
    ice = 0.3 + 0.7 * (0.5 * ridges[0] ** 6 + 0.5 * ridges[1] ** 3)
    return np.asarray(ice[:, :, None] * _FROST_COLOUR, np.float32)


def fog(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Add a cloud of plasma. Scale the result back to the image's own brightest value."""
    thickness, decay = FOG[severity - 1]
    brightest = image.max()
    cloud = plasma(decay, generator)[: image.shape[0], : image.shape[1], None].astype(np.float32)
    return np.asarray((image + np.float32(thickness) * cloud) * (brightest / (brightest + np.float32(thickness))))


def plasma(decay: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a plasma fractal (the diamond-square algorithm) in [0, 1], shape (256, 256); opposite edges fit together.

    Args:
        decay: Divides the random displacement at each finer scale; a larger value makes the plasma smoother.
        generator: Random generator of the displacements.
    """
    plane = np.zeros((_PLASMA_SIDE, _PLASMA_SIDE))
    step, wobble = _PLASMA_SIDE, 100.0
    while step >= 2:
        half = step // 2
        corners = plane[::step, ::step]
        square = corners + np.roll(corners, -1, 0)
        square = square + np.roll(square, -1, 1)
        plane[half::step, half::step] = _wobbled(square, wobble, generator)
        centres = plane[half::step, half::step]
        above = centres + np.roll(centres, 1, 0) + corners + np.roll(corners, -1, 1)
        plane[::step, half::step] = _wobbled(above, wobble, generator)
        beside = centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 0)
        plane[half::step, ::step] = _wobbled(beside, wobble, generator)
        step, wobble = half, wobble / decay
    plane -= plane.min()
    return np.asarray(plane / plane.max())


def _wobbled(sums: npt.NDArray[np.float64], wobble: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the means of sums over four points, each with a random displacement of up to wobble squared.

    The wobble is squared as in the original.
    """
    return sums / 4 + wobble * generator.uniform(-wobble, wobble, sums.shape)


def brightness(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Increase the brightness (the value of HSV); keep hue and saturation."""
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + np.float32(BRIGHTER[severity - 1]), 1)
    return np.where(value > 0, image * (brighter / np.maximum(value, np.float32(1e-6))), brighter)
