"""Random changes to training images that a scene's label survives: uint8 in, uint8 out."""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.errors import DataError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # read at import: else it asks the network for its version

import albumentations as A  # noqa: N812
import cv2

Image = npt.NDArray[np.uint8]
Augment = Callable[[Image, int], Image]  # an image, (H, W, 3) uint8, and a seed, to a changed one of the same size

_MIRRORED = cv2.BORDER_REFLECT


def build_augmentation(name: str) -> Augment | None:
    """The augmentation of a name, `none`, `light` or `realistic`, or of a file with an albumentations pipeline as JSON.

    The change follows from the seed alone, so that a run that was cut off goes on with the very images it would have
    seen. None stands for `none`.

    Raises:
        DataError: it is no such name, and no file that albumentations can read.
    """
    if name == "none":
        return None
    pipeline = A.Compose(_PIPELINES[name]()) if name in _PIPELINES else _read_pipeline(Path(name))
    cv2.setNumThreads(0)  # beside torch's threads, and in the loader's processes, its own would only wait

    def augment(image: Image, seed: int) -> Image:
        # One source for all its transforms: a seed of its own for each costs as much as some of them.
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return np.ascontiguousarray(pipeline(image=image)["image"])

    return augment


def _light() -> Sequence[A.BasicTransform | A.BaseCompose]:
    """Another crop, another light: none of it is a corruption that robustness is measured with."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.85, 1.25), translate_percent=(-0.08, 0.08), rotate=(-8, 8), border_mode=_MIRRORED, p=0.8),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


def _realistic() -> Sequence[A.BasicTransform | A.BaseCompose]:
    """What happens to pictures on their way: the camera's angle, weather, lens, sensor, and the file.

    In that order. To two images in five none of weather, lens, sensor and file happens: they keep what a clean one
    looks like. Noise, blur, weather and compression here are relatives of the corruptions that robustness is measured
    with, by other code and other constants; elastic transformation, frost, glass blur and zoom blur have no relative.
    """
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.85, 1.25), translate_percent=(-0.08, 0.08), rotate=(-10, 10), border_mode=_MIRRORED, p=0.8),
        A.OneOf(
            [
                A.RandomFog(fog_coef_range=(0.2, 0.6), p=0.2),
                A.RandomRain(p=1.0),
                A.RandomSnow(p=1.0),
                A.RandomShadow(p=1.0),
                A.PlasmaBrightnessContrast(p=0.5),
            ],
            p=0.15,
        ),
        A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.25, hue=0.02, p=0.7),
        A.RandomToneCurve(p=0.1),
        A.OneOf(
            [
                A.GaussianBlur(sigma_limit=(0.5, 2.5), blur_limit=0, p=1.0),
                A.MotionBlur(blur_limit=(3, 11), p=1.0),
                A.Defocus(radius=(1, 4), p=0.5),
                A.Downscale(scale_range=(0.3, 0.8), p=1.0),
            ],
            p=0.2,
        ),
        A.OneOf(
            [
                A.GaussNoise(std_range=(0.03, 0.2), p=1.0),
                A.MultiplicativeNoise(multiplier=(0.7, 1.3), elementwise=True, per_channel=True, p=1.0),
                A.SaltAndPepper(amount=(0.01, 0.1), p=1.0),
                A.ISONoise(intensity=(0.2, 0.8), p=0.5),
            ],
            p=0.2,
        ),
        A.ImageCompression(quality_range=(15, 90), p=0.2),
    ]


_PIPELINES = {"light": _light, "realistic": _realistic}


def _read_pipeline(path: Path) -> A.BaseCompose:
    if not path.is_file():
        known = ", ".join(("none", *_PIPELINES))
        raise DataError(f"augmentation: expected {known}, or a file as albumentations.save writes it, got {path}")
    try:
        pipeline = A.load(path, data_format="json")
    except Exception as error:  # whatever a class that the file names makes of its arguments
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: expected a pipeline as albumentations.save writes it, got {reason}") from error
    if not isinstance(pipeline, A.BaseCompose):
        raise DataError(f"{path}: expected a pipeline, as A.Compose, got {type(pipeline).__name__}")
    try:
        changed = pipeline(image=np.zeros((64, 64, 3), np.uint8))["image"]
    except Exception as error:  # of whatever kind its transforms raise
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: expected a pipeline that changes an image, got {reason}") from error
    if changed.dtype != np.uint8 or changed.ndim != 3 or changed.shape[2] != 3:
        raise DataError(
            f"{path}: expected a pipeline that gives (H, W, 3) uint8, got {changed.shape} {changed.dtype}; "
            "leave out what normalises: that is the network's part"
        )
    return pipeline
