"""The watch over one model's drift: features fill windows, windows become reports."""

import logging

from driftserve.contract import Contract
from driftserve.drift import detect_drift
from driftserve.report import DriftReport, Verdict
from driftserve.window import TumblingWindow

logger = logging.getLogger(__name__)


class DriftWatch:
    """Reports on one model, a window at a time; the same rows at the same times give the same reports.

    Args:
        contract: the model's, with its reference and its drift policy.
        window_size: an operator's, instead of the policy's; the archive's certificate does not cover it.
        windows_between_false_alarms: likewise.
        observations_before: those that another watch of this model has taken in; they are counted,
            and the window that they began is passed over.
    """

    def __init__(
        self,
        contract: Contract,
        window_size: int | None = None,
        windows_between_false_alarms: int | None = None,
        observations_before: int = 0,
    ) -> None:
        given = {"window_size": window_size, "windows_between_false_alarms": windows_between_false_alarms}
        policy = contract.drift.model_copy(update={name: value for name, value in given.items() if value is not None})
        self.contract = contract
        self.window_size = policy.window_size
        self.overrides = tuple(
            f"{name} {getattr(policy, name)} instead of {getattr(contract.drift, name)}, "
            "which the archive's certificate does not cover"
            for name in given
            if getattr(policy, name) != getattr(contract.drift, name)
        )
        self.observations = observations_before
        self._level = policy.level
        self._window = TumblingWindow(policy.window_size, observations_before)

    @property
    def windows(self) -> int:
        """The full windows so far."""
        return self.observations // self.window_size

    @property
    def observations_in_window(self) -> int:
        """The observations that wait for the next window to be full."""
        return len(self._window)

    def add(self, features: tuple[float, ...], answered_at: float) -> DriftReport | None:
        """The report on the window that these features fill; None while it is not full.

        Features that do not fit the contract are logged, and neither counted nor watched.
        """
        if len(features) != len(self.contract.reference):
            logger.error("expected %d features, got %d: not watched", len(self.contract.reference), len(features))
            return None
        self.observations += 1
        window = self._window.add(features)
        if window is None:
            return None
        tests = detect_drift(window, self.contract.reference, self._level)
        return DriftReport(
            verdict=Verdict.DRIFT if any(test.is_drift for test in tests) else Verdict.OK,
            model=self.contract.display_name,
            window=self.windows,
            ended_at=answered_at,
            observations=len(window),
            level=self._level,
            overrides=self.overrides,
            tests=tests,
        )
