"""Check that a network can be trained with a batch size, before time is spent on reading images."""

from copy import deepcopy
from math import ceil

import torch

from driftserve.archive.contract import ImageSpec
from driftserve.errors import DataError
from driftserve_training.network.classifier import Classifier


def images_in_batch(batch_size: int, images: int, processes: int) -> int:
    """Return the number of images in each training batch of a process, which has an equal share of all images.

    >>> images_in_batch(batch_size=32, images=8, processes=8)
    1
    """
    return min(batch_size, ceil(images / processes))


def check_trainable(classifier: Classifier, spec: ImageSpec, name: str, batch_size: int) -> None:
    """Raise if the network cannot be trained on batches of one image.

    Batch normalisation needs two values for each channel, and a small image can become a feature map of 1x1.

    Raises:
        DataError: the batch size is 1, and the network needs larger batches.
    """
    if batch_size > 1:
        return
    copy = deepcopy(classifier).train()  # training mode changes the batch statistics
    try:
        with torch.no_grad():
            copy(torch.zeros(1, 3, spec.height, spec.width, dtype=torch.uint8))
    except ValueError as error:
        raise DataError(
            f"cannot train {name} with one image in a batch: {error}; use a larger --batch-size or --image-size"
        ) from error
