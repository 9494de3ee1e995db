"""Blur corruptions: a lens out of focus, frosted glass, a moving camera, a zoom during exposure.

The original below is ImageNet-C's `make_imagenet_c.py`.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal, sparse

Image = npt.NDArray[np.float32]  # (224, 224, 3), in [0, 1]

# For each severity: the disk's radius, and the sigma of its edge's smoothing, in pixels.
DISK = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
# For each severity: the sigma of the two Gaussian blurs and the longest swap, in pixels; the number of swapping passes.
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
# For each severity: the radius and the sigma of the Gaussian, in pixels.
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
# For each severity: the end and the step of the zoom factors, which start at 1.
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


def defocus_blur(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Blur the image as a disk-shaped aperture does."""
    kernel = disk(*DISK[severity - 1])
    edge = len(kernel) // 2
    padded = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
    return np.asarray(signal.fftconvolve(padded, kernel[:, :, None], mode="valid", axes=(0, 1)), np.float32)


def disk(radius: int, sigma: float) -> npt.NDArray[np.float32]:
    """Return the kernel of a disk. A Gaussian of three points (five for a radius over 8) smooths its edge.

    The weights sum to 1, but to 1.01 at radius 8 and 10, where the smoothing reaches the kernel's border, as in the
    original.
    """
    half = max(8, radius)
    reach = 1 if radius <= 8 else 2
    offsets = np.arange(-half, half + 1)
    inside = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float64)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    smooth = inside / inside.sum()
    for axis in range(2):
        smooth = ndimage.correlate1d(smooth, weights / weights.sum(), axis=axis, mode="mirror")
    return np.asarray(smooth, np.float32)


def glass_blur(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Swap random pairs of nearby pixels between two Gaussian blurs.

    The original assigns a tuple of numpy views, which copies one pixel over the other. This code swaps the two, as the
    original's comment says.
    """
    sigma, farthest, passes = GLASS[severity - 1]
    blurred = (_gaussian(image, sigma) * 255).astype(np.uint8).astype(np.float32) / np.float32(255)
    side = image.shape[0]
    pixels = list(range(side * side))
    rows = np.arange(side - farthest, farthest, -1)
    places = (rows[:, None] * side + rows).ravel()
    for _ in range(passes):
        down, right = generator.integers(-farthest, farthest, (2, len(places)))
        for place, other in zip(places.tolist(), (places + down * side + right).tolist(), strict=True):
            pixels[place], pixels[other] = pixels[other], pixels[place]
    shuffled = blurred.reshape(-1, 3)[pixels].reshape(image.shape)
    return _gaussian(shuffled, sigma)


def motion_blur(image: Image, severity: int, generator: np.random.Generator) -> Image:
    """Blur the image along a random direction within 45 degrees of the horizontal."""
    radius, sigma = MOTION[severity - 1]
    return smear(image, radius, sigma, generator.uniform(-45, 45))


def smear(image: Image, radius: int, sigma: float, degrees: float) -> Image:
    """Return the weighted mean of copies of an image, (H, W, C), each moved one pixel further in a direction.

    The weights are one half of a Gaussian over 2 radius + 1 copies, as in ImageMagick's `-motion-blur`. Edge pixels are
    repeated beyond the edge.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    angle = np.deg2rad(degrees)
    moves: dict[tuple[int, int], float] = {}
    for step, weight in zip(steps, weights, strict=True):
        move = (round(float(step * np.sin(angle))), round(float(step * np.cos(angle))))
        moves[move] = moves.get(move, 0.0) + float(weight)
    reach = 2 * radius + 1
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    total = np.zeros_like(image)
    for (down, right), weight in moves.items():
        total += np.float32(weight) * padded[reach + down :, reach + right :][:height, :width]
    return total


def zoom_blur(image: Image, severity: int, _: np.random.Generator) -> Image:
    """Return the mean of the image and its enlargements. The first factor is 1, so the image counts twice."""
    factors = np.arange(1, *ZOOM[severity - 1])
    total = image.transpose(1, 0, 2).copy().transpose(1, 0, 2)  # the memory order of `enlarge`, for faster addition
    for factor in factors:
        total += enlarge(image, float(factor))
    return np.asarray(total / np.float32(len(factors) + 1))


def enlarge(image: Image, factor: float) -> Image:
    """Enlarge the centre of a square image, (S, S, C), to the image's size, by linear interpolation."""
    side = image.shape[0]
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    large = round(crop * factor)
    trim = (large - side) // 2
    places = np.minimum((np.arange(side) + trim) * (crop - 1) / (large - 1), crop - 1)
    before = np.minimum(places.astype(int), crop - 2)
    share = (places - before).astype(np.float32)
    weights = np.column_stack([1 - share, share]).ravel()  # for each place, the weights of its two neighbours
    neighbours = np.column_stack([before, before + 1]).ravel()
    mixed = sparse.csr_array((weights, neighbours, np.arange(0, 2 * side + 1, 2)), shape=(side, crop))
    part = image[top : top + crop, top : top + crop]
    rows = (mixed @ part.reshape(crop, -1)).reshape(side, crop, -1)
    columns = mixed @ rows.transpose(1, 0, 2).reshape(crop, -1)
    return np.asarray(columns.reshape(side, side, -1).transpose(1, 0, 2))


def _gaussian(image: Image, sigma: float) -> Image:
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest"))
