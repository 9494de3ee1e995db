"""Folders of small images for tests. All files differ."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sample_images import LABELS, encode


def png(seed: int, side: int = 40) -> bytes:
    """Return a square image of noise, different for each seed."""
    return encode(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def write_images(folder: Path, numbers: Mapping[str, int], seed: int = 0) -> Path:
    """Write `numbers[name]` images as `<name>/<seed>.png` for each name; return the folder."""
    for name, number in numbers.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(number):
            (folder / name / f"{seed}.png").write_bytes(png(seed))
            seed += 1
    return folder


def write_coloured(folder: Path, images: int, seed: int) -> Path:
    """Write images as `<class>/<number>.png` in which the channel of the class is the brightest; return the folder."""
    generator = np.random.default_rng(seed)
    for channel, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for number in range(images):
            level = generator.normal(110, 12, 3)
            level[channel] = level.max() + generator.uniform(2, 30)
            pixels = generator.normal(level, 15, (48, 64, 3)).clip(0, 255).astype(np.uint8)
            (folder / label / f"{number}.png").write_bytes(encode(pixels))
    return folder


# How a file begins in which macOS keeps what a file system without its attributes cannot: AppleDouble, version 2.
APPLE_DOUBLE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "


def add_companions(folder: Path) -> None:
    """Write what macOS leaves beside each file, `._<name>`, and in each folder; a notebook server's copies, too."""
    for path in sorted(folder.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
    for directory in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (directory / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (directory / ".ipynb_checkpoints").mkdir()
        (directory / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes(png(10_000))


def listing(folder: Path) -> list[str]:
    """Return the relative paths of all files below a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
