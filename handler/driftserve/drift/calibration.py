"""Calibrates a watch on its own traffic: how much do its images depend on each other, so how many is a window worth?"""

import logging
from dataclasses import dataclass

import numpy as np
from pydantic import FiniteFloat

from driftserve.drift.dependence import (
    NO_DIFFERENCES,
    DesignEffects,
    Differences,
    bound_factors,
    design_effects,
    windows_to_calibrate,
)
from driftserve.drift.reference import Reference
from driftserve.drift.report import Calibration
from driftserve.drift.window import WindowCounts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationProgress:
    """What another calibrator needs to continue.

    `windows` is the number of windows so far, and `differences` has those of the present measurement. `effects` has the
    design effects in use, of the features and then of the mix, (F + 1,); it is empty while there are none. They were
    measured on the windows from `first` to `last`.
    """

    windows: int = 0
    differences: Differences = NO_DIFFERENCES
    effects: tuple[FiniteFloat, ...] = ()
    first: int = 0
    last: int = 0


NOT_CALIBRATED = CalibrationProgress()


class Calibrator:
    """Measures the design effects of a watch's windows, again and again.

    The first measurement makes the watch calibrated. A later one replaces it only if the traffic depends more on itself
    than before, beyond doubt: if the lower bound of a new effect is above the upper bound in use.

    Args:
        reference: The reference of the windows.
        window_size: Number of observations in a window.
        before: Progress of an earlier calibrator for windows of the same size. It is not used if it is of a model with
            other features or labels.
    """

    def __init__(self, reference: Reference, window_size: int, before: CalibrationProgress = NOT_CALIBRATED) -> None:
        self.needed = windows_to_calibrate(window_size)
        self._reference = reference
        self._window_size = window_size
        means, effects = len(reference.names) + len(reference.labels), len(reference.names) + 1
        is_usable = {len(before.differences.sums), len(before.differences.last)} <= {0, means} and len(
            before.effects
        ) in (0, effects)
        self.progress = before if is_usable else NOT_CALIBRATED

    @property
    def effects(self) -> DesignEffects | None:
        """The upper bounds of the design effects in use; None while there are none."""
        effects = self.progress.effects
        return DesignEffects(np.array(effects[:-1]), effects[-1]) if effects else None

    @property
    def calibration(self) -> Calibration:
        """The state of the calibration, for reports and status."""
        progress = self.progress
        if not progress.effects:
            return Calibration("CALIBRATING", None, min(1.0, progress.differences.windows / self.needed))
        size = self._window_size
        source = f"own traffic, observations {(progress.first - 1) * size + 1} to {progress.last * size}"
        return Calibration("CALIBRATED", source, 1.0)

    def add(self, window: WindowCounts) -> None:
        """Take the next window into account."""
        before = self.progress
        windows, differences = before.windows + 1, before.differences.added(window, self._reference)
        effects, first, last = before.effects, before.first, before.last
        if differences.windows == self.needed:
            new = design_effects(differences, self._window_size, self._reference)
            lower, upper = bound_factors(differences.windows)
            if self.effects is None or new.at_least_one(lower).exceed(self.effects):
                bounds = new.at_least_one(upper)
                effects = (*bounds.features.tolist(), bounds.mix)
                first, last = windows - self.needed + 1, windows
                logger.info(
                    "calibrated on windows %d to %d: design effects up to %.1f of a feature, %.1f of the mix",
                    *(first, last, bounds.features.max(), bounds.mix),
                )
            differences = NO_DIFFERENCES
        self.progress = CalibrationProgress(windows, differences, effects, first, last)
