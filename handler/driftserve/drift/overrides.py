"""What an operator sets for the drift detection of all models, in place of what each archive says."""

from dataclasses import dataclass

from driftserve.settings import LabelShift


@dataclass(frozen=True)
class DriftOverrides:
    """The operator's settings; each is None if the operator did not set it.

    `window_size` and `windows_between_false_alarms` replace the values of `DriftPolicy`. With the `label_shift`
    "report", a label shift alone is reported, but raises no alarm.
    """

    window_size: int | None = None
    windows_between_false_alarms: int | None = None
    label_shift: LabelShift | None = None

    def replaced_by(self, other: "DriftOverrides") -> "DriftOverrides":
        """Return these settings, with each that `other` sets replaced by the other's."""
        return DriftOverrides(
            other.window_size or self.window_size,
            other.windows_between_false_alarms or self.windows_between_false_alarms,
            other.label_shift or self.label_shift,
        )


NO_OVERRIDES = DriftOverrides()
