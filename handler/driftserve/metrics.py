"""Metrics: what they are called, how they are summed up over a period, where they go."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Protocol

from driftserve.contract import Contract
from driftserve.observation import PHASES

Dimensions = tuple[tuple[str, str], ...]

COMMON_DIMENSIONS = ("EndpointName", "VariantName", "Model")


class Unit(str, Enum):
    """The units of CloudWatch that are used here."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    NONE = "None"


@dataclass(frozen=True)
class Definition:
    """A metric's name, unit, own dimensions (beside the common ones) and meaning."""

    name: str
    unit: Unit
    dimensions: tuple[str, ...]
    meaning: str


REQUESTS = Definition("Requests", Unit.COUNT, (), "answered requests, errors too")
ERRORS = Definition("Errors", Unit.COUNT, (), "requests answered with a status of 400 or more")
LATENCY = Definition("Latency", Unit.MILLISECONDS, ("Phase",), "time in the handler, by phase")
PREDICTED_CLASS = Definition("PredictedClass", Unit.COUNT, ("Class",), "predictions of this class")
CONFIDENCE = Definition("Confidence", Unit.NONE, (), "calibrated probability of the predicted class")
OBSERVATIONS = Definition("Observations", Unit.COUNT, (), "predictions that entered a drift window")
DROPS = Definition("DroppedObservations", Unit.COUNT, (), "observations that never reached the monitor")
DRIFT_STATE = Definition("DriftState", Unit.NONE, (), "1 if the last window drifted, else 0; absent before the first")
DRIFT_STATISTIC = Definition("DriftStatistic", Unit.NONE, ("Feature",), "KS D of a window, in [0, 1]")
DRIFT_P_VALUE = Definition("DriftPValue", Unit.NONE, ("Feature",), "KS p-value of a window")

DEFINITIONS = (
    REQUESTS,
    ERRORS,
    LATENCY,
    PREDICTED_CLASS,
    CONFIDENCE,
    OBSERVATIONS,
    DROPS,
    DRIFT_STATE,
    DRIFT_STATISTIC,
    DRIFT_P_VALUE,
)


@dataclass(frozen=True)
class Metric:
    """One metric over one period: `counts[i]` times the value `values[i]`.

    `timestamp` is in seconds since the epoch, the end of the period.
    """

    name: str
    unit: Unit
    dimensions: Dimensions
    values: tuple[float, ...]
    counts: tuple[int, ...]
    timestamp: float


def all_series(contract: Contract, endpoint_name: str, variant_name: str) -> list[tuple[str, Dimensions]]:
    """Every metric of one model with all its dimensions: what CloudWatch counts, and bills, as metrics."""
    own = {"Phase": PHASES, "Class": contract.labels, "Feature": contract.feature_names}
    common = _common_dimensions(endpoint_name, variant_name, contract.display_name)
    return [
        (definition.name, common + tuple(zip(definition.dimensions, values, strict=True)))
        for definition in DEFINITIONS
        for values in product(*(own[name] for name in definition.dimensions))
    ]


class Sink(Protocol):
    """A place that takes metrics. It may block and may raise: the publisher deals with both."""

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Deliver the metrics."""


class Aggregator:
    """Sums up what happens in a period: counts are added, other values kept as a distribution."""

    def __init__(self, endpoint_name: str, variant_name: str, model: str) -> None:
        self._common = _common_dimensions(endpoint_name, variant_name, model)
        self._sums: Counter[tuple[Definition, Dimensions]] = Counter()
        self._samples: dict[tuple[Definition, Dimensions], Counter[float]] = {}

    def count(self, definition: Definition, amount: int, *own: str) -> None:
        """Add to a count; `own` are the values of the definition's own dimensions."""
        self._sums[self._key(definition, own)] += amount

    def sample(self, definition: Definition, value: float, *own: str) -> None:
        """Add a value to a distribution, rounded to 3 digits so that equal values can be merged."""
        self._samples.setdefault(self._key(definition, own), Counter())[float(f"{value:.3g}")] += 1

    def drain(self, now: float) -> list[Metric]:
        """The metrics of the period that ends now; the next period starts empty."""
        metrics = [
            Metric(definition.name, definition.unit, dimensions, (float(total),), (1,), now)
            for (definition, dimensions), total in self._sums.items()
        ]
        for (definition, dimensions), samples in self._samples.items():
            values, counts = zip(*sorted(samples.items()), strict=True)
            metrics.append(Metric(definition.name, definition.unit, dimensions, values, counts, now))
        self._sums.clear()
        self._samples.clear()
        return metrics

    def _key(self, definition: Definition, own: Sequence[str]) -> tuple[Definition, Dimensions]:
        return definition, self._common + tuple(zip(definition.dimensions, own, strict=True))


def _common_dimensions(endpoint_name: str, variant_name: str, model: str) -> Dimensions:
    return tuple(zip(COMMON_DIMENSIONS, (endpoint_name, variant_name, model), strict=True))
