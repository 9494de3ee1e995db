"""Classifies many images at once; an image that fails does not affect the others."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import Contract
from driftserve.drift.features import features
from driftserve.errors import DriftserveError, ModelError
from driftserve.inference.model import Model
from driftserve.inference.prediction import Prediction, calibrate, to_prediction

logger = logging.getLogger(__name__)

# Most images in one call of the model, which limits the memory for activations; a larger batch is hardly faster.
MOST_IMAGES_AT_ONCE = 32


@dataclass(frozen=True)
class Item:
    """One image of a request and its results so far; each stage returns a copy with more fields set.

    `is_watched` says whether an observation is sent, `is_test` whether it is marked as test traffic.
    """

    is_watched: bool
    is_test: bool = False
    image_id: str | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    pixels: npt.NDArray[np.uint8] | None = None  # (1, 3, height, width) uint8, the model's input
    raster: npt.NDArray[np.uint8] | None = None  # result of `to_raster`; None for images that enter no drift window
    prediction: Prediction | None = None
    features: tuple[float, ...] | None = None
    error: DriftserveError | None = None

    @property
    def failure(self) -> DriftserveError:
        """The reason why there is no prediction."""
        return self.error or ModelError("no prediction was made")

    @property
    def status(self) -> int:
        """The HTTP status of this image alone."""
        return 200 if self.prediction is not None else self.failure.status


def milliseconds_since(started: float) -> float:
    """Return the time since `started`, a value of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000.0


class Classifier:
    """Adds predictions to images, and features to the images that are watched."""

    def __init__(self, contract: Contract, model: Model) -> None:
        self._contract = contract
        self._model = model

    def classify(self, items: Sequence[Item]) -> list[Item]:
        """Return the items in order; items with pixels get a prediction or an error, the others are unchanged."""
        classified = list(items)
        places = [place for place, item in enumerate(items) if item.pixels is not None]
        for start in range(0, len(places), MOST_IMAGES_AT_ONCE):
            chosen = places[start : start + MOST_IMAGES_AT_ONCE]
            for place, item in zip(chosen, self._classify_at_once([items[place] for place in chosen]), strict=True):
                classified[place] = item
        return classified

    def _classify_at_once(self, items: Sequence[Item]) -> list[Item]:
        started = time.perf_counter()
        pixels = np.concatenate([item.pixels for item in items if item.pixels is not None])
        try:
            output = self._model(pixels)
        except ModelError as error:
            logger.exception("the model failed on a batch of %d", len(items))
            if len(items) == 1:
                return [replace(items[0], error=error)]
            # Try each image alone, so that only the images on which the model fails get an error.
            return [classified for item in items for classified in self._classify_at_once([item])]
        probabilities = calibrate(output.logits, self._contract.temperature)
        model_ms = milliseconds_since(started)
        predicted = [self._add_prediction(item, row, model_ms) for item, row in zip(items, probabilities, strict=True)]
        return _add_features(predicted, probabilities, output.embedding)

    def _add_prediction(self, item: Item, probabilities: npt.NDArray[np.float64], model_ms: float) -> Item:
        """Return the item with the prediction from its probabilities, one per label.

        If a probability is not finite, return the item with an error instead.
        """
        latency_ms = {**item.latency_ms, "model": model_ms}
        if not np.isfinite(probabilities).all():
            error = ModelError("the model gave an infinite or NaN output for this image")
            return replace(item, latency_ms=latency_ms, error=error)
        prediction = to_prediction(probabilities, self._contract.labels)
        return replace(item, latency_ms=latency_ms, prediction=prediction)


def _add_features(
    items: list[Item], probabilities: npt.NDArray[np.float64], embedding: npt.NDArray[np.float32]
) -> list[Item]:
    """Return the items in order; items with a raster and a prediction get their features."""
    watched = {
        place: item.raster
        for place, item in enumerate(items)
        if item.raster is not None and item.prediction is not None
    }
    if not watched:
        return items
    places = list(watched)
    try:
        rows = features(list(watched.values()), probabilities[places], embedding[places])
    except Exception:  # watching must never break serving
        logger.exception("cannot compute the features of a batch")
        return items
    finite = {place: tuple(row.tolist()) for place, row in zip(places, rows, strict=True) if np.isfinite(row).all()}
    return [replace(item, features=finite[place]) if place in finite else item for place, item in enumerate(items)]
