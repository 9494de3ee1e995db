"""Random changes to training images that keep the label valid. Images are uint8 before and after."""

import json
import os
import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.errors import DataError

# albumentations reads this variable at import; without it, it looks for updates online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2

Image = npt.NDArray[np.uint8]  # (H, W, 3)
Augment = Callable[[Image, int], Image]  # takes an image and a seed; returns a changed image of the same size

_MIRRORED = cv2.BORDER_REFLECT


def build_augmentation(name: str) -> Augment | None:
    """Build the augmentation `light` or `realistic`, or one from a JSON file with an albumentations pipeline.

    Return None for `none`. The change depends on the seed only, so a resumed run sees the same images as an
    uninterrupted one.

    Raises:
        DataError: `name` is neither a known name nor a file that albumentations can read.
    """
    if name == "none":
        return None
    pipeline = A.Compose(_PIPELINES[name]()) if name in _PIPELINES else _read_pipeline(Path(name))
    cv2.setNumThreads(0)  # OpenCV's threads would only compete with torch's threads and the loader processes

    def augment(image: Image, seed: int) -> Image:
        # All transforms share one random state: seeding each one costs as much as some of the transforms.
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return np.ascontiguousarray(pipeline(image=image)["image"])

    return augment


def _light() -> Sequence[A.BasicTransform | A.BaseCompose]:
    """Return transforms with small changes of crop and light, none of which is a corruption of the evaluation."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.85, 1.25), translate_percent=(-0.08, 0.08), rotate=(-8, 8), border_mode=_MIRRORED, p=0.8),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


def _realistic() -> Sequence[A.BasicTransform | A.BaseCompose]:
    """Return transforms for camera angle, weather, light, lens, sensor and file compression, in this order.

    Two images in five get no change by weather, lens, sensor or file, so that the network also sees clean images.
    Noise, blur, weather and compression resemble corruptions of the robustness evaluation, but use other code and
    other constants. Elastic transformation, frost, glass blur and zoom blur have no counterpart here.
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
        raise DataError(f"augmentation: expected {known}, or a file written by albumentations.save, got {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown arguments are refused below
            pipeline = A.load(path, data_format="json")
        unknown = _unknown_keys(json.loads(path.read_text())["transform"], pipeline.to_dict()["transform"])
    except Exception as error:  # any class that the file names may raise anything
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot load it as a pipeline of albumentations.save: {reason}") from error
    if not isinstance(pipeline, A.BaseCompose):
        raise DataError(f"{path}: expected a pipeline such as A.Compose, got {type(pipeline).__name__}")
    if unknown:
        raise DataError(
            f"{path}: expected arguments that albumentations {A.__version__} has, got {', '.join(unknown)}; "
            "write the file with this version, or correct the names"
        )
    try:
        changed = pipeline(image=np.zeros((64, 64, 3), np.uint8))["image"]
    except Exception as error:  # a transform may raise anything
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: the pipeline fails for an image of 64x64 pixels: {reason}") from error
    if changed.dtype != np.uint8 or changed.ndim != 3 or changed.shape[2] != 3:
        raise DataError(
            f"{path}: expected a pipeline that returns (H, W, 3) uint8, got {changed.shape} {changed.dtype}; "
            "remove normalisation, which the network does itself"
        )
    return pipeline


def _unknown_keys(given: object, understood: object, place: str = "") -> list[str]:
    """Return the keys of a JSON value that are not in what albumentations understood. It ignores them with a warning.

    A key that another version has renamed is unknown, and its value would silently become the default.
    """
    if isinstance(given, dict) and isinstance(understood, dict):
        place = str(given.get("__class_fullname__", place)).rpartition(".")[2]
        unknown = [f"{place}.{key}" for key in given if key not in understood]
        known = [(given[key], understood[key]) for key in given if key in understood]
        return unknown + [key for pair in known for key in _unknown_keys(*pair, place)]
    if isinstance(given, list) and isinstance(understood, list):
        return [key for pair in zip(given, understood, strict=False) for key in _unknown_keys(*pair, place)]
    return []
