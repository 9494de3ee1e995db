"""Watches one model for drift: collects features in windows and reports on each full window."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import WINDOWS_IN_LONG, Contract
from driftserve.drift.detection import detect_drift
from driftserve.drift.reference import estimate_accuracy, read_reference
from driftserve.drift.report import DriftReport, Horizon, Verdict
from driftserve.drift.window import TumblingWindow, Window, merge_windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """A watch's progress: the number of observations in all windows, and the image ids in the current window."""

    observations: int = 0
    image_ids: tuple[str, ...] = ()


class DriftWatch:
    """Reports on one model, window by window. The same rows at the same times give the same reports.

    Args:
        contract: The model's contract, with its reference and its drift policy.
        window_size: Overrides the policy's value if not None. The archive's certificate was measured without it.
        windows_between_false_alarms: As for `window_size`.
        before: Progress of an earlier watch of this model. Its observations are counted. The window and the long window
            that it did not finish get no report.
    """

    def __init__(
        self,
        contract: Contract,
        window_size: int | None = None,
        windows_between_false_alarms: int | None = None,
        before: Progress = Progress(),
    ) -> None:
        settings = {"window_size": window_size, "windows_between_false_alarms": windows_between_false_alarms}
        overrides = {name: value for name, value in settings.items() if value is not None}
        policy = contract.drift.model_copy(update=overrides)
        self.contract = contract
        self.window_size = policy.window_size
        self.overrides = tuple(
            f"{name} {getattr(policy, name)} instead of {getattr(contract.drift, name)}, "
            "which the archive's certificate does not cover"
            for name in overrides
            if getattr(policy, name) != getattr(contract.drift, name)
        )
        self.observations = before.observations
        self._policy = policy
        self._reference = read_reference(contract.reference)
        self._window = TumblingWindow(policy.window_size, before.observations, before.image_ids)
        self._long_window: list[Window] = []

    @property
    def windows(self) -> int:
        """Number of full windows so far."""
        return self.observations // self.window_size

    @property
    def long_windows(self) -> int:
        """Number of full long windows so far."""
        return self.windows // WINDOWS_IN_LONG

    @property
    def observations_in_window(self) -> int:
        """Number of observations in the current window; 0 while the rest of an earlier watch's window is skipped."""
        return len(self._window)

    @property
    def progress(self) -> Progress:
        """The progress from which another watch can continue."""
        return Progress(self.observations, self._window.image_ids)

    def is_duplicate(self, image_id: str | None) -> bool:
        """Return whether this image is already in the current window, for example because a client sent a retry."""
        return self._window.has(image_id)

    def add(self, features: tuple[float, ...], image_id: str | None, answered_at: float) -> tuple[DriftReport, ...]:
        """Add an observation; return the reports on the window and the long window that it fills, if any.

        A duplicate is ignored. Features that do not fit the contract are logged and ignored.

        Args:
            features: Values in the order of the contract's reference.
            image_id: The image's identifier, or None if unknown.
            answered_at: When the image was answered, in seconds since the epoch.
        """
        if len(features) != len(self.contract.reference):
            logger.error("expected %d features, got %d: ignored", len(self.contract.reference), len(features))
            return ()
        if self.is_duplicate(image_id):
            return ()
        self.observations += 1
        window = self._window.add(features, image_id)
        if window is None:
            return ()
        reports = [self._report("window", self.windows, window.rows, self._policy.level, answered_at)]
        reports += self._long_report(window, answered_at)
        return tuple(reports)

    def _long_report(self, window: Window, answered_at: float) -> Iterable[DriftReport]:
        place = (self.windows - 1) % WINDOWS_IN_LONG
        if len(self._long_window) != place:  # an earlier watch had the beginning of this long window
            return
        self._long_window.append(window)
        if place == WINDOWS_IN_LONG - 1:
            rows = merge_windows(self._long_window)
            self._long_window.clear()
            yield self._report("long window", self.long_windows, rows, self._policy.long_level, answered_at)

    def _report(
        self, horizon: Horizon, number: int, rows: npt.NDArray[np.float64], level: float, answered_at: float
    ) -> DriftReport:
        tests = detect_drift(rows, self._reference, level)
        drifted = [test for test in tests if test.is_drift]
        return DriftReport(
            verdict=Verdict.DRIFT if drifted else Verdict.OK,
            model=self.contract.display_name,
            horizon=horizon,
            window=number,
            ended_at=answered_at,
            observations=len(rows),
            level=level,
            shifts=tuple(dict.fromkeys(test.shift for test in drifted)),
            estimated_accuracy=estimate_accuracy(rows, self._reference, self.contract.reference_accuracy),
            reference_accuracy=self.contract.reference_accuracy,
            overrides=self.overrides,
            tests=tests,
        )
