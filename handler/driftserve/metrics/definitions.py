"""Definitions of all metrics, and the interface of a sink."""

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
    """The CloudWatch units of our metrics."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"
    NONE = "None"


@dataclass(frozen=True, eq=False)  # each metric has one definition, and hashing its identity is fast
class Definition:
    """A metric's name, unit, own dimensions (in addition to the `common` ones), meaning, and when it is sent."""

    name: str
    unit: Unit
    dimensions: tuple[str, ...]
    meaning: str
    when: str
    common: tuple[str, ...] = COMMON_DIMENSIONS


_WITH_IMAGES = "each period with images"
_WITH_WINDOW = "each period in which a drift window became full, one value a window"

IMAGES = Definition(
    "Images",
    Unit.COUNT,
    (),
    "answered images, errors included; a request without a readable image counts as one",
    _WITH_IMAGES,
)
ERRORS = Definition("Errors", Unit.COUNT, (), "images answered with a status of 400 or more", _WITH_IMAGES)
LATENCY = Definition(
    "Latency", Unit.MILLISECONDS, ("Phase",), "time in the handler, by phase", f"{_WITH_IMAGES} that reached the phase"
)
PREDICTED_CLASS = Definition(
    "PredictedClass", Unit.COUNT, ("Class",), "predictions of this class", "each period with predictions of the class"
)
CONFIDENCE = Definition(
    "Confidence",
    Unit.NONE,
    (),
    "calibrated probability of the predicted class",
    "each period with predictions, one value a prediction",
)
OBSERVATIONS = Definition(
    "Observations",
    Unit.COUNT,
    (),
    "predictions that entered a drift window",
    "each period with watched predictions",
)
DROPS = Definition(
    "DroppedObservations", Unit.COUNT, (), "observations that never reached the monitor", f"{_WITH_IMAGES}, even if 0"
)
DRIFT_STATE = Definition(
    "DriftState",
    Unit.NONE,
    (),
    "1 if the last window or the last long window drifted, else 0",
    "each period, starting with the first full drift window",
)
WINDOW_AGE = Definition(
    "DriftWindowAge",
    Unit.SECONDS,
    (),
    "time since the last drift window became full",
    "each period, starting with the first full drift window",
)
CALIBRATED = Definition(
    "Calibrated",
    Unit.NONE,
    (),
    "1 if the dependence of the images on each other is known, 0 while windows are judged as if they were independent",
    "each period, starting with the first full drift window",
)
DRIFT_STATISTIC = Definition(
    "DriftStatistic",
    Unit.NONE,
    ("Feature",),
    "the feature's distance from the reference, in [0, 1]: KS D, or total variation for `predicted_class`",
    _WITH_WINDOW,
)
DRIFT_P_VALUE = Definition(
    "DriftPValue",
    Unit.NONE,
    ("Feature",),
    "the feature's p-value: KS test, or chi-square test for `predicted_class`",
    _WITH_WINDOW,
)
ESTIMATED_ACCURACY = Definition(
    "EstimatedAccuracy", Unit.NONE, (), "accuracy of a window, estimated from confidence, in [0, 1]", _WITH_WINDOW
)
EXCLUDED = Definition(
    "ExcludedObservations",
    Unit.COUNT,
    ("Reason",),
    "observations that enter no drift window: `test` traffic, `failed` requests, or a `duplicate` of an image in the "
    "window",
    "each period in which something was excluded, by reason; never 0",
)
EXCLUSIONS = ("test", "failed", "duplicate")
LOST = Definition(
    "LostMetrics",
    Unit.COUNT,
    ("Sink",),
    "metrics that this sink has lost since its last report; each series of each period counts as one",
    "each period, even if 0",
    COMMON_DIMENSIONS[:2],
)
LOST_OBSERVATIONS = Definition(
    "LostObservations",
    Unit.COUNT,
    ("Cause",),
    "what the monitor could not use: observations of an `unknown_model`; datagrams (each counts as 1) that came too "
    "fast (`queue_full`) or were not valid (`not_understood`)",
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
    CALIBRATED,
    DRIFT_STATISTIC,
    DRIFT_P_VALUE,
    ESTIMATED_ACCURACY,
    EXCLUDED,
    LOST,
    LOST_OBSERVATIONS,
)


@dataclass(frozen=True)
class Metric:
    """The values of one metric in one period: `values[i]` occurred `counts[i]` times.

    `timestamp` is the end of the period, in seconds since the epoch. `source` tells apart models with the same
    dimensions: two archives may have the same name and version. It is empty for metrics that belong to no model.
    """

    name: str
    unit: Unit
    dimensions: Dimensions
    values: tuple[float, ...]
    counts: tuple[int, ...]
    timestamp: float
    source: str = ""


def all_series(
    contract: Contract, endpoint_name: str, variant_name: str, sink: str = "cloudwatch"
) -> list[tuple[str, Dimensions]]:
    """Return the name and dimensions of each series that a sink may deliver for one served model.

    CloudWatch counts and bills each series. `LostObservations` appears only if something was lost.
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
    """Return the common dimensions of a model's metrics, or, without `model`, of metrics that belong to no model."""
    return tuple(zip(COMMON_DIMENSIONS, (endpoint_name, variant_name, *model), strict=False))


class Sink(Protocol):
    """A destination of metrics. It may block and may raise; the publisher handles both."""

    @property
    def name(self) -> str:
        """The sink's name in settings and in the dimension `Sink`."""

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Deliver the metrics.

        Raises:
            DeliveryError: Some metrics were not delivered. The error has these metrics, and says whether to retry.
        """
