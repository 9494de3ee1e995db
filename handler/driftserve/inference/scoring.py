"""Computes the logits, probabilities and features of many images, with the same code that the server uses."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import ImageSpec
from driftserve.drift.features import features
from driftserve.errors import ModelError
from driftserve.images.preprocess import preprocess
from driftserve.images.raster import to_raster
from driftserve.inference.model import Model
from driftserve.inference.prediction import calibrate

_AT_ONCE = 32  # images in a batch


@dataclass(frozen=True)
class Scored:
    """Results for N images, with K labels and F features.

    `logits` and the calibrated `probabilities` have shape (N, K), `features` has shape (N, F). `embedding_size` is the
    number of components of the model's embedding; they are part of the features.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]
    embedding_size: int


def score(images: Iterable[npt.NDArray[np.uint8]], model: Model, spec: ImageSpec, temperature: float) -> Scored:
    """Return the logits, probabilities and features of all images. There must be at least one image.

    A request whose output is not finite gets an error of its own. Here such an image would enter a reference.

    Args:
        images: decoded images of any sizes, (H, W, 3) uint8 each. They are read batch by batch and not kept.
        model: the model of an archive.
        spec: the contract's `image_spec`.
        temperature: the contract's `temperature`.

    Raises:
        ModelError: a logit or a feature is infinite or NaN.
    """
    parts = []
    scored = 0
    for batch in _batches(images):
        output = model(preprocess(batch, spec))
        _check_finite(np.concatenate([output.logits, output.embedding], axis=1), scored)
        probabilities = calibrate(output.logits, temperature)
        rows = features([to_raster(image) for image in batch], probabilities, output.embedding)
        _check_finite(rows, scored)
        scored += len(batch)
        embedding_size = output.embedding.shape[1]
        parts.append((output.logits, probabilities, rows))
    logits, probabilities, rows = map(np.concatenate, zip(*parts, strict=True))
    return Scored(logits, probabilities, rows, embedding_size)


def _check_finite(rows: npt.NDArray[np.floating[Any]], before: int) -> None:
    """Raise if a row, (N, ...), has a value that is infinite or NaN; `before` is the number of earlier images."""
    is_finite = np.isfinite(rows).all(axis=1)
    if not is_finite.all():
        raise ModelError(
            "expected finite logits, embedding and features, got infinite or NaN ones for image "
            f"{before + int(np.argmin(is_finite)) + 1}; train again, or remove this image"
        )


def _batches(images: Iterable[npt.NDArray[np.uint8]]) -> Iterator[list[npt.NDArray[np.uint8]]]:
    remaining = iter(images)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
