"""Computes the predictions and features of many images with the serving code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import ImageSpec
from driftserve.drift.features import features
from driftserve.images.preprocess import preprocess
from driftserve.images.raster import to_raster
from driftserve.inference.model import Model
from driftserve.inference.prediction import calibrate

_AT_ONCE = 32


@dataclass(frozen=True)
class Scored:
    """The model's output for N images: logits and calibrated probabilities, (N, K), and features, (N, F).

    `embedding_size` is the number of components of the graph's embedding, which are part of the features.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]
    embedding_size: int


def score(images: Iterable[npt.NDArray[np.uint8]], model: Model, spec: ImageSpec, temperature: float) -> Scored:
    """Return the model's output for at least one decoded image, each (H, W, 3) uint8.

    Args:
        images: of any sizes; they are read batch by batch and not kept.
        model: the graph of an archive.
        spec: from the contract.
        temperature: from the contract.
    """
    parts = []
    for batch in _batches(images):
        output = model(preprocess(batch, spec))
        probabilities = calibrate(output.logits, temperature)
        rows = features([to_raster(image) for image in batch], probabilities, output.embedding)
        embedding_size = output.embedding.shape[1]
        parts.append((output.logits, probabilities, rows))
    logits, probabilities, rows = map(np.concatenate, zip(*parts, strict=True))
    return Scored(logits, probabilities, rows, embedding_size)


def _batches(images: Iterable[npt.NDArray[np.uint8]]) -> Iterator[list[npt.NDArray[np.uint8]]]:
    remaining = iter(images)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
