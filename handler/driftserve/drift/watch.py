"""The watch over one model's drift: features fill windows, windows become reports."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import WINDOWS_IN_LONG, Contract
from driftserve.drift.detection import detect_drift
from driftserve.drift.reference import estimate_accuracy, read_reference
from driftserve.drift.report import DriftReport, Horizon, Verdict
from driftserve.drift.window import TumblingWindow, Window, together

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a watch has come: the observations that entered a window, the image ids in the one that fills."""

    observations: int = 0
    image_ids: tuple[str, ...] = ()


class DriftWatch:
    """Reports on one model, a window at a time; the same rows at the same times give the same reports.

    Args:
        contract: the model's, with its reference and its drift policy.
        window_size: an operator's, instead of the policy's; the archive's certificate does not cover it.
        windows_between_false_alarms: likewise.
        before: where another watch of this model was; what it took in is counted, and the
            windows that it began are passed over.
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
        """The full windows so far."""
        return self.observations // self.window_size

    @property
    def long_windows(self) -> int:
        """The full long windows so far."""
        return self.windows // WINDOWS_IN_LONG

    @property
    def observations_in_window(self) -> int:
        """The observations that wait for the next window to be full."""
        return len(self._window)

    @property
    def progress(self) -> Progress:
        """Where another watch can go on."""
        return Progress(self.observations, self._window.image_ids)

    def is_duplicate(self, image_id: str | None) -> bool:
        """Whether this image is in the window already: a client that tries again is no drift."""
        return self._window.has(image_id)

    def add(self, features: tuple[float, ...], image_id: str | None, answered_at: float) -> tuple[DriftReport, ...]:
        """The reports on the window, and the long window, that these features fill; none while they are not full.

        Duplicates, and features that do not fit the contract, which are logged, are neither counted nor watched.
        """
        if len(features) != len(self.contract.reference):
            logger.error("expected %d features, got %d: not watched", len(self.contract.reference), len(features))
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
        if len(self._long_window) != place:  # its beginning is not here any more
            return
        self._long_window.append(window)
        if place == WINDOWS_IN_LONG - 1:
            rows = together(self._long_window)
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
