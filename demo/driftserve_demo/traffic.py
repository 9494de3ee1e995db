"""The demo's traffic, in windows: undrifted, corrupted, and with out-of-distribution (OOD) images."""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from driftserve.errors import DataError
from driftserve.images.decode import MEDIA_TYPES, decode
from driftserve.images.files import find_images
from driftserve_demo.client import Picture
from driftserve_demo.corruption import SEVERITY, gaussian_noise

OOD_SHARE = 0.25  # share of OOD images in a window

Window = list[Picture]


@dataclass(frozen=True)
class Extent:
    """How much traffic is sent: the minimum number of undrifted windows, and the windows for each kind of drift."""

    undrifted_windows: int
    drifted_windows: int


FULL = Extent(undrifted_windows=10, drifted_windows=2)
QUICK = Extent(undrifted_windows=2, drifted_windows=1)


def image_files(folder: Path) -> list[Path]:
    """Return the files `<folder>/<class>/<image>`, sorted."""
    return find_images(folder, "*/*")


def read_pictures(folder: Path, is_labelled: bool = True) -> list[Picture]:
    """Read the bytes of the images in a folder; the label of an image is the name of its class folder."""
    return [
        Picture(path.read_bytes(), MEDIA_TYPES[path.suffix.lower()], path.parent.name if is_labelled else None)
        for path in image_files(folder)
    ]


def undrifted_windows(
    stream: Sequence[Picture], size: int, generator: random.Random, extent: Extent = FULL
) -> list[Window]:
    """Return windows that are cut from shuffled copies of the stream; no window has an image twice.

    Raises:
        DataError: the stream has fewer images than one window.
    """
    if len(stream) < size:
        raise DataError(f"expected at least {size} images in stream/, the size of a window, got {len(stream)}")
    windows: list[Window] = []
    while len(windows) < extent.undrifted_windows:
        shuffled = generator.sample(stream, len(stream))
        windows += [shuffled[start : start + size] for start in range(0, len(stream) - size + 1, size)]
    return windows


def corrupted_windows(
    stream: Sequence[Picture], size: int, generator: random.Random, extent: Extent = FULL
) -> list[Window]:
    """Return windows of corrupted stream images, as PNG, so that compression does not change them too."""
    noise = np.random.default_rng(generator.getrandbits(32))
    samples = (generator.sample(stream, size) for _ in range(extent.drifted_windows))
    return [[_corrupt(picture, noise) for picture in sample] for sample in samples]


def ood_windows(
    stream: Sequence[Picture],
    ood_pictures: Sequence[Picture],
    size: int,
    generator: random.Random,
    extent: Extent = FULL,
) -> list[Window]:
    """Return windows of the stream in which a quarter of the images are OOD, or all of them if there are fewer.

    No window has an image twice.
    """
    number = min(round(size * OOD_SHARE), len(ood_pictures))
    windows = []
    for _ in range(extent.drifted_windows):
        window = generator.sample(stream, size - number) + generator.sample(ood_pictures, number)
        windows.append(generator.sample(window, size))
    return windows


def _corrupt(picture: Picture, generator: np.random.Generator) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(gaussian_noise(decode(picture.body), SEVERITY, generator)).save(buffer, "PNG", compress_level=1)
    return Picture(buffer.getvalue(), "image/png", picture.label)
