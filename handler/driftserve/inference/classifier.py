"""The classification of many images at once, each failing alone."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass
class Item:
    """One image on its way: what is known of it so far."""

    is_watched: bool
    is_test: bool = False
    image_id: str | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
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

    def classify(self, items: Sequence[Item]) -> None:
        """Fill in the predictions, or errors, of items that have pixels; the others are left as they are."""
        good = [item for item in items if item.pixels is not None]
        for start in range(0, len(good), MOST_IMAGES_AT_ONCE):
            self._classify_at_once(good[start : start + MOST_IMAGES_AT_ONCE])

    def _classify_at_once(self, items: Sequence[Item]) -> None:
        started = time.perf_counter()
        pixels = np.concatenate([item.pixels for item in items if item.pixels is not None])
        try:
            output = self._model(pixels)
        except ModelError as error:
            logger.exception("the model failed on a batch of %d", len(items))
            if len(items) == 1:
                items[0].error = error
            else:  # each alone, so that only those that the graph cannot take fail
                for item in items:
                    self._classify_at_once([item])
            return
        probabilities = calibrate(output.logits, self._contract.temperature)
        model_ms = milliseconds_since(started)
        for item, row in zip(items, probabilities, strict=True):
            item.latency_ms["model"] = model_ms
            if np.isfinite(row).all():
                item.prediction = to_prediction(row, self._contract.labels)
            else:
                item.error = ModelError("the network gave no finite numbers for this image")
        _measure(items, probabilities, output.embedding)


def _measure(items: Sequence[Item], probabilities: npt.NDArray[np.float64], embedding: npt.NDArray[np.float32]) -> None:
    """Fill in the features of the items that have a raster and a prediction."""
    watched = [
        (index, item.raster)
        for index, item in enumerate(items)
        if item.raster is not None and item.prediction is not None
    ]
    if not watched:
        return
    chosen = [index for index, _ in watched]
    try:
        rows = features([raster for _, raster in watched], probabilities[chosen], embedding[chosen])
    except Exception:  # watching may never break serving
        logger.exception("the features of a batch failed")
        return
    for index, row in zip(chosen, rows, strict=True):
        if np.isfinite(row).all():
            items[index].features = tuple(row.tolist())
