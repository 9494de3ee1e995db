"""What is said of a model's traffic: a verdict a window, a status a model."""

import json
from dataclasses import asdict, dataclass
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
    """One window's verdict and the tests that it rests on, most significant first.

    `model` is the display name; `window` counts from 1; `ended_at` is when the window's last
    observation was answered, in seconds since the epoch; `level` is the probability of an alarm
    without drift; `overrides` says, a sentence each, what an operator set otherwise than the archive.
    """

    verdict: Verdict
    model: str
    window: int
    ended_at: float
    observations: int
    level: float
    overrides: tuple[str, ...]
    tests: tuple[FeatureTest, ...]

    @property
    def drifted_features(self) -> tuple[str, ...]:
        """The names of the features that moved, most significant first."""
        return tuple(test.feature for test in self.tests if test.is_drift)


@dataclass(frozen=True)
class ModelStatus:
    """What is known of one model since the monitor started.

    `name` is the display name; `observations` counts those that entered a window, of which
    `observations_in_window` wait for the next one to be full; `dropped` counts those that never
    arrived; `overrides` are those of `DriftReport`.
    """

    name: str
    state: Verdict
    windows: int
    alarms: int
    observations: int
    observations_in_window: int
    window_size: int
    dropped: int
    overrides: tuple[str, ...]
    last_report: DriftReport | None


@dataclass(frozen=True)
class Losses:
    """What the monitor itself could not use since it started.

    Observations of models without a contract; datagrams that came too fast, or that were none of
    ours; lines that could not be recorded.
    """

    unknown_model: int = 0
    queue_full: int = 0
    not_understood: int = 0
    not_recorded: int = 0


def report_to_json(report: DriftReport) -> str:
    """The report as one line of JSON, the same for the same report, as `status.json` holds it too."""
    return json.dumps(asdict(report), separators=(",", ":"))
