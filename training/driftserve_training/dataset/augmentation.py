"""Random changes to training images that a scene's label survives: uint8 in, uint8 out."""

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # read at import: else it asks the network for its version

import albumentations as A  # noqa: N812

Image = npt.NDArray[np.uint8]


def build_augmentation(seed: int) -> Callable[[Image], Image]:
    """A function from an image, (H, W, 3) uint8, to a changed one of the same size.

    None of the changes is a corruption that robustness is measured with.
    """
    pipeline = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=(0.85, 1.25), translate_percent=(-0.08, 0.08), rotate=(-8, 8), border_mode=2, p=0.8
            ),  # 2: the edge is mirrored (cv2.BORDER_REFLECT)
            A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
        ],
        seed=seed,
    )
    return lambda image: np.ascontiguousarray(pipeline(image=image)["image"])
