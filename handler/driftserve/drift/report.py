"""The report on a window of a model's traffic: the verdict and the tests behind it."""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Literal

PREDICTED_CLASS = "predicted_class"  # `FeatureTest.feature` of the test of the mix of predicted labels
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # the quantiles of a feature in a report

Shift = Literal["input", "label", "confidence"]
CalibrationState = Literal["CALIBRATING", "CALIBRATED"]
Horizon = Literal["window", "long window"]


class Verdict(str, Enum):
    """The state of a model's traffic."""

    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    DRIFT = "DRIFT"


@dataclass(frozen=True)
class FeatureTest:
    """The test of one feature, or of the mix of predicted labels, against the reference.

    `test` is "ks", the two-sample Kolmogorov-Smirnov test, for a feature, or "atom" if the share of one value has
    changed more significantly than the distribution of the others; and "chi2", the chi-square test, for the mix.
    `shift` is the kind of shift that the feature shows. `statistic`, in [0, 1], is the Kolmogorov-Smirnov D, the
    change of the atom's share, or the total variation distance of the two mixes. For input and confidence, it is
    that to the reference with the window's mix of predicted labels. `direction` says whether the window's values
    are higher or lower than the reference's where the distance is D, whether the atom comes more or less often, or
    which label's share has increased most. `window` and `reference` have the feature's quantiles at `QUANTILES`, or
    each label's share; the quantiles of the window are approximate, and those of the reference are without weights.
    `p_value` takes the reference's own error into account. `is_drift` is corrected for multiple tests.
    """

    feature: str
    test: Literal["ks", "atom", "chi2"]
    shift: Shift
    statistic: float
    p_value: float
    direction: str  # "higher", "lower", "<value> more often", "<value> less often", or "more <label>"
    window: tuple[float, ...]
    reference: tuple[float, ...]
    is_drift: bool


@dataclass(frozen=True)
class Calibration:
    """Whether the dependence of the traffic's images on each other is known.

    While the `state` is CALIBRATING, windows are judged as if their images were independent. `source` says which
    observations it was measured on, or is None. `progress` is the share of these that have come, in [0, 1].
    """

    state: CalibrationState = "CALIBRATING"
    source: str | None = None
    progress: float = 0.0


@dataclass(frozen=True)
class DriftReport:
    """The verdict on one window, and the tests behind it, most significant first.

    `model` is the display name. `window` counts from 1, separately for long windows. `ended_at` is when the window's
    last image was answered, in seconds since the epoch. `observations` is the number of tested observations. `level` is
    the probability of an alarm without drift. `shifts` has the kinds of shift that the drifted features show.
    `estimated_accuracy` is the window's accuracy, estimated from calibrated confidence; `reference_accuracy` is the
    accuracy on the reference images. `overrides` has one text for each setting by which an operator replaced the
    archive's value. `calibration` is the one with which the window was judged.
    """

    verdict: Verdict
    model: str
    horizon: Horizon
    window: int
    ended_at: float
    observations: int
    level: float
    shifts: tuple[Shift, ...]
    estimated_accuracy: float
    reference_accuracy: float
    overrides: tuple[str, ...]
    calibration: Calibration
    tests: tuple[FeatureTest, ...]

    @property
    def drifted_features(self) -> tuple[str, ...]:
        """The names of the drifted features, most significant first."""
        return tuple(test.feature for test in self.tests if test.is_drift)


def report_to_json(report: DriftReport) -> str:
    """Return the report as one line of JSON, with the same fields as in `status.json`. The output is deterministic."""
    return json.dumps(asdict(report), separators=(",", ":"))
