"""Metrics: what they are called, what they mean, and the sinks that take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Protocol

from driftserve.archive.contract import Contract
from driftserve.drift import report
from driftserve.observations.observation import PHASES

Dimensions = tuple[tuple[str, str], ...]

COMMON_DIMENSIONS = ("EndpointName", "VariantName", "Model")


class Unit(str, Enum):
    """The units of CloudWatch that are used here."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"
    NONE = "None"


@dataclass(frozen=True)
class Definition:
    """A metric's name, unit, own dimensions (beside the common ones) and meaning; `when` a value is sent."""

    name: str
    unit: Unit
    dimensions: tuple[str, ...]
    meaning: str
    when: str
    common: tuple[str, ...] = COMMON_DIMENSIONS


_WITH_IMAGES = "each period with images"
_WITH_WINDOW = "each period in which a drift window was full, once a window"

IMAGES = Definition(
    "Images", Unit.COUNT, (), "images answered, errors too; a request without a readable one is one", _WITH_IMAGES
)
ERRORS = Definition("Errors", Unit.COUNT, (), "images answered with a status of 400 or more", _WITH_IMAGES)
LATENCY = Definition(
    "Latency", Unit.MILLISECONDS, ("Phase",), "time in the handler, by phase", f"{_WITH_IMAGES} that came to the phase"
)
PREDICTED_CLASS = Definition(
    "PredictedClass", Unit.COUNT, ("Class",), "predictions of this class", "each period with predictions of the class"
)
CONFIDENCE = Definition(
    "Confidence",
    Unit.NONE,
    (),
    "calibrated probability of the predicted class",
    "each period with predictions, once a prediction",
)
OBSERVATIONS = Definition(
    "Observations",
    Unit.COUNT,
    (),
    "predictions that entered a drift window",
    "each period with predictions that were watched",
)
DROPS = Definition(
    "DroppedObservations", Unit.COUNT, (), "observations that never reached the monitor", f"{_WITH_IMAGES}, 0 too"
)
DRIFT_STATE = Definition(
    "DriftState",
    Unit.NONE,
    (),
    "1 if the last window or the last long one drifted, else 0; absent before the first",
    "each period from the first full drift window on",
)
WINDOW_AGE = Definition(
    "DriftWindowAge",
    Unit.SECONDS,
    (),
    "time since the last drift window was full",
    "each period from the first full drift window on",
)
DRIFT_STATISTIC = Definition(
    "DriftStatistic",
    Unit.NONE,
    ("Feature",),
    "how far the feature lies from the reference, in [0, 1]: KS D, of `predicted_class` the total variation",
    _WITH_WINDOW,
)
DRIFT_P_VALUE = Definition(
    "DriftPValue", Unit.NONE, ("Feature",), "its p-value: KS, of `predicted_class` chi-square", _WITH_WINDOW
)
ESTIMATED_ACCURACY = Definition(
    "EstimatedAccuracy", Unit.NONE, (), "accuracy that confidence predicts for a window, in [0, 1]", _WITH_WINDOW
)
EXCLUDED = Definition(
    "ExcludedObservations",
    Unit.COUNT,
    ("Reason",),
    "what enters no drift window: marked `test` traffic, `failed` requests, a `duplicate` of an image in the window",
    "each period in which something was excluded, by reason; never 0",
)
EXCLUSIONS = ("test", "failed", "duplicate")
LOST = Definition(
    "LostMetrics",
    Unit.COUNT,
    ("Sink",),
    "metrics that this sink could not deliver since its last report, one a period and series",
    "each period, 0 too",
    COMMON_DIMENSIONS[:2],
)
LOST_OBSERVATIONS = Definition(
    "LostObservations",
    Unit.COUNT,
    ("Cause",),
    "what the monitor could not use: observations of an `unknown_model`; datagrams, each counted as 1, that came too "
    "fast (`queue_full`) or were `not_understood`",
    "each period in which something was lost, by cause; never 0",
    COMMON_DIMENSIONS[:2],
)
LOSS_CAUSES = ("unknown_model", "queue_full", "not_understood")  # fields of `Losses`

DEFINITIONS = (
    IMAGES,
    ERRORS,
    LATENCY,
    PREDICTED_CLASS,
    CONFIDENCE,
    OBSERVATIONS,
    DROPS,
    DRIFT_STATE,
    WINDOW_AGE,
    DRIFT_STATISTIC,
    DRIFT_P_VALUE,
    ESTIMATED_ACCURACY,
    EXCLUDED,
    LOST,
    LOST_OBSERVATIONS,
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


def all_series(
    contract: Contract, endpoint_name: str, variant_name: str, sink: str = "cloudwatch"
) -> list[tuple[str, Dimensions]]:
    """Every metric that a sink may deliver where one model is served, with all dimensions.

    It is what CloudWatch counts, and bills; `LostObservations` only where something was lost.
    """
    own = {
        "Phase": PHASES,
        "Class": contract.labels,
        "Feature": (*contract.feature_names, report.PREDICTED_CLASS),
        "Reason": EXCLUSIONS,
        "Sink": (sink,),
        "Cause": LOSS_CAUSES,
    }
    common = common_dimensions(endpoint_name, variant_name, contract.display_name)
    return [
        (
            definition.name,
            tuple(pair for pair in common if pair[0] in definition.common)
            + tuple(zip(definition.dimensions, values, strict=True)),
        )
        for definition in DEFINITIONS
        for values in product(*(own[name] for name in definition.dimensions))
    ]


def common_dimensions(endpoint_name: str, variant_name: str, *model: str) -> Dimensions:
    """The common dimensions of a model's metrics, or of those that belong to no model."""
    return tuple(zip(COMMON_DIMENSIONS, (endpoint_name, variant_name, *model), strict=False))


class Sink(Protocol):
    """A place that takes metrics. It may block and may raise: the publisher deals with both."""

    @property
    def name(self) -> str:
        """The sink as settings and the dimension `Sink` name it."""

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Deliver the metrics.

        Raises:
            DeliveryError: some were not delivered; it has them, and says whether to try again.
        """
