"""Watches one model for drift: collects features in windows and reports on each full window."""

import logging
from dataclasses import dataclass

from driftserve.archive.contract import WINDOWS_IN_LONG, Contract
from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress, Calibrator
from driftserve.drift.detection import detect_drift
from driftserve.drift.overrides import NO_OVERRIDES, DriftOverrides
from driftserve.drift.reference import estimate_accuracy, read_reference
from driftserve.drift.report import Calibration, DriftReport, Horizon, Verdict
from driftserve.drift.window import TumblingWindow, WindowCounts

logger = logging.getLogger(__name__)

_LABEL_SHIFT_REPORTED = "a label shift alone raises no alarm, only the report names it"


@dataclass(frozen=True)
class Progress:
    """A watch's progress: the observations in all windows, the image ids in the current window, the calibration."""

    observations: int = 0
    image_ids: tuple[str, ...] = ()
    calibration: CalibrationProgress = NOT_CALIBRATED


class DriftWatch:
    """Reports on one model, window by window. The same rows at the same times give the same reports.

    Args:
        contract: The model's contract, with its reference and its drift policy.
        overrides: The operator's settings. The archive's certificate was measured without them.
        before: Progress of an earlier watch of this model. Its observations are counted. The window and the long window
            that it did not finish get no report.
    """

    def __init__(
        self,
        contract: Contract,
        overrides: DriftOverrides = NO_OVERRIDES,
        before: Progress = Progress(),
    ) -> None:
        settings = {
            "window_size": overrides.window_size,
            "windows_between_false_alarms": overrides.windows_between_false_alarms,
        }
        replaced = {name: value for name, value in settings.items() if value is not None}
        policy = contract.drift.model_copy(update=replaced)
        self.contract = contract
        self.window_size = policy.window_size
        texts = (
            f"{name} {getattr(policy, name)} instead of {getattr(contract.drift, name)}, "
            "which the archive's certificate does not cover"
            for name in replaced
            if getattr(policy, name) != getattr(contract.drift, name)
        )
        self._is_label_shift_alarm = overrides.label_shift != "report"
        self.overrides = (*texts, *(() if self._is_label_shift_alarm else (_LABEL_SHIFT_REPORTED,)))
        self.observations = before.observations
        self._policy = policy
        self._reference = read_reference(contract.reference)
        self._calibrator = Calibrator(self._reference, policy.window_size, before.calibration)
        self._window = TumblingWindow(policy.window_size, self._reference, before.observations, before.image_ids)
        self._long_window = TumblingWindow(policy.window_size * WINDOWS_IN_LONG, self._reference, before.observations)

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
        return Progress(self.observations, self._window.images.ids, self._calibrator.progress)

    @property
    def calibration(self) -> Calibration:
        """The state of the calibration."""
        return self._calibrator.calibration

    def resume_calibration(self, progress: CalibrationProgress) -> None:
        """Go on with a calibration that is known to have this progress now."""
        self._calibrator = Calibrator(self._reference, self.window_size, progress)

    def is_duplicate(self, image_id: str | None) -> bool:
        """Return whether this image is already in the current window, for example because a client sent a retry."""
        return self._window.images.has(image_id)

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
        long_window = self._long_window.add(features, image_id)
        reports = []
        if window is not None:
            reports.append(self._report("window", self.windows, window, self._policy.level, answered_at))
        if long_window is not None:
            level = self._policy.long_level
            reports.append(self._report("long window", self.long_windows, long_window, level, answered_at))
        if window is not None:
            self._calibrator.add(window)
        return tuple(reports)

    def _report(
        self, horizon: Horizon, number: int, window: WindowCounts, level: float, answered_at: float
    ) -> DriftReport:
        tests = detect_drift(window, self._reference, level, self._calibrator.effects)
        drifted = [test for test in tests if test.is_drift]
        is_alarm = any(test.shift != "label" or self._is_label_shift_alarm for test in drifted)
        return DriftReport(
            verdict=Verdict.DRIFT if is_alarm else Verdict.OK,
            model=self.contract.display_name,
            horizon=horizon,
            window=number,
            ended_at=answered_at,
            observations=window.observations,
            level=level,
            shifts=tuple(dict.fromkeys(test.shift for test in drifted)),
            estimated_accuracy=estimate_accuracy(window.confidence, self._reference, self.contract.reference_accuracy),
            reference_accuracy=self.contract.reference_accuracy,
            overrides=self.overrides,
            calibration=self.calibration,
            tests=tests,
        )
