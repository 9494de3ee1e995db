"""Benchmark: which copies of real images the perceptual hash recognises, and how many pairs of real images it finds."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from driftserve_training.preparation.near_duplicates import MOST_DISTANCE
from driftserve_training.preparation.perceptual_hash import perceptual_hash

Pixels = npt.NDArray[np.uint8]


def _jpeg(image: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _resized(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((int(width * 0.7), int(height * 0.7))))


def _brightened(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda image: np.asarray((image * factor).clip(0, 255), np.uint8)


def _cropped(share: float) -> Callable[[Pixels], Pixels]:
    def crop(image: Pixels) -> Pixels:
        height, width = (max(1, round(side * share)) for side in image.shape[:2])
        return np.ascontiguousarray(image[height:-height, width:-width])

    return crop


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG quality 50": _jpeg,
    "resized to 0.7": _resized,
    "10 % brighter": _brightened(1.1),
    "10 % darker": _brightened(0.9),
    "2 of 150 pixels cropped on each side": _cropped(2 / 150),
    "a twentieth cropped on each side": _cropped(0.05),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_which_copies_of_real_images_are_recognised(intel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(intel.glob("*/*/*.jpg"))]
    hashes = [perceptual_hash(image) for image in images]
    shares = {}
    for name, distort in COPIES.items():
        pairs = zip(hashes, (perceptual_hash(distort(image)) for image in images), strict=True)
        distances = [(one ^ other).bit_count() for one, other in pairs if one is not None and other is not None]
        shares[name] = np.mean(np.array(distances) <= MOST_DISTANCE)
    found = np.array([one for one in hashes if one is not None], np.uint64)
    near = sum(int((_distances(found[:row], found[row]) <= MOST_DISTANCE).sum()) for row in range(len(found)))
    with capsys.disabled():
        print(f"\n{len(images)} images; recognised with {MOST_DISTANCE} bits:")
        for name, share in shares.items():
            print(f"  {name}: {share:.1%}")
        print(f"  pairs of images in the data: {near}")
    assert min(shares[name] for name in list(COPIES)[:4]) >= 0.99
    assert shares["mirrored"] <= 0.01


def _distances(some: npt.NDArray[np.uint64], one: np.uint64) -> npt.NDArray[np.uint8]:
    """Return the number of differing bits between each hash and one, shape (N,)."""
    return np.unpackbits((some ^ one).view(np.uint8).reshape(len(some), 8), axis=1).sum(axis=1, dtype=np.uint8)
