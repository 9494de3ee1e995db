"""What is said of a model's traffic: a verdict a window, a status a model."""

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What is known of a model's traffic."""

    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    DRIFT = "DRIFT"


@dataclass(frozen=True)
class FeatureTest:
    """One feature's two-sample Kolmogorov-Smirnov test.

    `statistic` is D in [0, 1]; `direction` says where the window lies against the reference at
    the point of D; `is_drift` holds after the correction for testing many features.
    """

    feature: str
    statistic: float
    p_value: float
    direction: str  # "higher" or "lower"
    is_drift: bool


@dataclass(frozen=True)
class DriftReport:
    """One window's verdict and the tests that it rests on, most significant first."""

    verdict: Verdict
    observations: int
    level: float
    tests: tuple[FeatureTest, ...]

    @property
    def drifted_features(self) -> tuple[str, ...]:
        """The names of the features that moved, most significant first."""
        return tuple(test.feature for test in self.tests if test.is_drift)


@dataclass(frozen=True)
class ModelStatus:
    """What is known of one model since the monitor started."""

    state: Verdict
    windows: int
    alarms: int
    observations: int
    dropped: int
    last_report: DriftReport | None
