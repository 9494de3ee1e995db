"""What is said of a window of a model's traffic: the verdict and the tests that it rests on."""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Literal

PREDICTED_CLASS = "predicted_class"  # the name, beside the features', of the test of the mix of classes
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Shift = Literal["input", "label", "confidence"]
Horizon = Literal["window", "long window"]


class Verdict(str, Enum):
    """What is known of a model's traffic."""

    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    DRIFT = "DRIFT"


@dataclass(frozen=True)
class FeatureTest:
    """One feature's test against the reference.

    `test` is the two-sample Kolmogorov-Smirnov test, or for the mix of predicted classes the
    chi-square test. `shift` says what has shifted where the feature has. `statistic`, in [0, 1], is the
    Kolmogorov-Smirnov D, or the total variation distance of the two mixes; `direction` says where the window lies
    against the reference at the point of D, or which class it has more of. `window` and `reference` hold
    the quantiles of `QUANTILES`, or each label's share. `p_value` allows for the
    reference's own error; `is_drift` holds after the correction for testing many.
    """

    feature: str
    test: Literal["ks", "chi2"]
    shift: Shift
    statistic: float
    p_value: float
    direction: str  # "higher", "lower", or "more <label>"
    window: tuple[float, ...]
    reference: tuple[float, ...]
    is_drift: bool


@dataclass(frozen=True)
class DriftReport:
    """One window's verdict and the tests that it rests on, most significant first.

    `model` is the display name; `window` counts from 1, the long windows by themselves; `ended_at` is when the
    window's last observation was answered, in seconds since the epoch; `observations` are those that were tested;
    `level` is the probability of an alarm without drift; `shifts` are those of the features that moved.
    `estimated_accuracy` is what calibrated confidence predicts for the window, beside `reference_accuracy`, that of the
    reference images. `overrides` says, a sentence each, what an operator set otherwise than the archive.
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
    tests: tuple[FeatureTest, ...]

    @property
    def drifted_features(self) -> tuple[str, ...]:
        """The names of the features that moved, most significant first."""
        return tuple(test.feature for test in self.tests if test.is_drift)


def report_to_json(report: DriftReport) -> str:
    """The report as one line of JSON, the same for the same report, as `status.json` holds it too."""
    return json.dumps(asdict(report), separators=(",", ":"))
