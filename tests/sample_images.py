"""Images for tests, generated in code."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from driftserve.archive.contract import ImageSpec
from driftserve.images.preprocess import preprocess

LABELS = ("red", "green", "blue")


def scene(generator: np.random.Generator, offset: float = 0.0) -> npt.NDArray[np.uint8]:
    """Return a noisy image, (48, 64, 3) uint8, in which one channel is the brightest."""
    level = generator.normal(110 + offset, 12, 3)
    level[generator.integers(3)] += 40
    pixels = generator.normal(level, 15, (48, 64, 3))
    return np.asarray(pixels.clip(0, 255), np.uint8)


def scene_pixels(number: int, spec: ImageSpec, seed: int) -> npt.NDArray[np.uint8]:
    """Return a batch of scenes in the network's input format."""
    generator = np.random.default_rng(seed)
    return preprocess([scene(generator) for _ in range(number)], spec)


def encode(pixels: npt.NDArray[np.uint8], kind: str = "PNG", **options: object) -> bytes:
    """Return pixels encoded as an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
