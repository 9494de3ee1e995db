"""The classification of many images at once, each failing alone."""

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

# Bounds the memory of the network's activations, whatever the requests hold; beyond it a batch is hardly faster.
MOST_IMAGES_AT_ONCE = 32


@dataclass(frozen=True)
class Item:
    """One image on its way: what is known of it so far. Each stage makes a new one that knows more."""

    is_watched: bool
    is_test: bool = False
    image_id: str | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    pixels: npt.NDArray[np.uint8] | None = None  # (1, 3, height, width) uint8, the network's input
    raster: npt.NDArray[np.uint8] | None = None  # of the decoded image, where it is watched
    prediction: Prediction | None = None
    features: tuple[float, ...] | None = None
    error: DriftserveError | None = None

    @property
    def failure(self) -> DriftserveError:
        """Why there is no prediction, where there is none."""
        return self.error or ModelError("no prediction was made")

    @property
    def status(self) -> int:
        """The HTTP status of this image alone."""
        return 200 if self.prediction is not None else self.failure.status


def milliseconds_since(started: float) -> float:
    """The time since a reading of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000.0


class Classifier:
    """Gives images their predictions, and those that are watched their features."""

    def __init__(self, contract: Contract, model: Model) -> None:
        self._contract = contract
        self._model = model

    def classify(self, items: Sequence[Item]) -> list[Item]:
        """The items, in order: those that have pixels with a prediction or an error, the others as they are."""
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
            # Each alone, so that only those that the graph cannot take fail.
            return [classified for item in items for classified in self._classify_at_once([item])]
        probabilities = calibrate(output.logits, self._contract.temperature)
        model_ms = milliseconds_since(started)
        predicted = [self._predicted(item, row, model_ms) for item, row in zip(items, probabilities, strict=True)]
        return _measured(predicted, probabilities, output.embedding)

    def _predicted(self, item: Item, probabilities: npt.NDArray[np.float64], model_ms: float) -> Item:
        """The item with the prediction that its row of probabilities, (K,), makes."""
        latency_ms = {**item.latency_ms, "model": model_ms}
        if not np.isfinite(probabilities).all():
            error = ModelError("the network gave no finite numbers for this image")
            return replace(item, latency_ms=latency_ms, error=error)
        prediction = to_prediction(probabilities, self._contract.labels)
        return replace(item, latency_ms=latency_ms, prediction=prediction)


def _measured(
    items: list[Item], probabilities: npt.NDArray[np.float64], embedding: npt.NDArray[np.float32]
) -> list[Item]:
    """The items, in order: those that have a raster and a prediction with their features."""
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
    except Exception:  # watching may never break serving
        logger.exception("the features of a batch failed")
        return items
    finite = {place: tuple(row.tolist()) for place, row in zip(places, rows, strict=True) if np.isfinite(row).all()}
    return [replace(item, features=finite[place]) if place in finite else item for place, item in enumerate(items)]
