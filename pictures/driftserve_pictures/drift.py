"""Plot the drift statistic over the demo's windows, from the demo's report and the archive that it served."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from driftserve.archive.reading import read_contract
from driftserve.drift.detection import first_levels
from driftserve.drift.reference import Reference, read_reference
from driftserve_pictures.drawing import Box, Drawing, Role, Text

_PLOT = Box(52, 84, 622, 300)
_NAMES = {"undrifted": "calm traffic", "corrupted": "noisy images"}  # for each phase of the report: its shown name
_JITTER = 26.0  # width in pixels over which the dots of one window are spread
_NAMED = 3  # number of features of the last window whose names are shown
_NAME_GAP = 22.0  # distance of two names, in pixels


@dataclass(frozen=True)
class Phase:
    """Windows of one kind of traffic: each window's Kolmogorov-Smirnov D by feature."""

    name: str
    alarms: int
    statistics: tuple[Mapping[str, float], ...]


def read_phases(report_file: Path) -> tuple[list[Phase], float]:
    """Return the undrifted and the corrupted phase of a report, and the smallest D that raises an alarm.

    Raises:
        KeyError: the report is of an older demo, which did not write the statistics.
    """
    report = json.loads(report_file.read_text())
    parts = [(name, report["drift"][key]) for key, name in _NAMES.items()]
    phases = [Phase(name, part["alarms"], tuple(part["statistics"])) for name, part in parts]
    contract = read_contract(Path(report["archive"]["path"]))
    reference, policy = read_reference(contract.reference), contract.drift
    return phases, alarm_threshold(reference, policy.window_size, policy.level)


def alarm_threshold(reference: Reference, number: int, level: float) -> float:
    """Return the smallest Kolmogorov-Smirnov D of input or confidence that raises an alarm for `number` images.

    This holds for a window with the reference's mix of predicted labels. A p-value is the larger of two p-values
    (`driftserve.drift.detection`), so D has to reach the larger of two thresholds.
    """
    _, level_of_a_test = first_levels(reference, level)
    size = round(number * reference.size / (number + reference.size))
    on_average = stats.kstwo.isf(level_of_a_test, size)
    beyond_error = stats.kstwo.isf(level_of_a_test, number) + reference.error
    return float(max(on_average, beyond_error))


def draw_drift(phases: Sequence[Phase], threshold: float) -> Drawing:
    """Return the plot: a column of dots for each window, and in it a dot for each feature."""
    number = sum(len(phase.statistics) for phase in phases)
    summary = "; ".join(f"{phase.name}: {_count_alarms(phase)}" for phase in phases)
    drawing = Drawing(
        "Drift statistic over the demo's windows",
        f"The Kolmogorov-Smirnov D of each feature in {number} windows of 200 images. {summary}. "
        f"A window raises an alarm when a feature's D is at least {threshold:.2f}.",
        840,
        446,
    )
    step = _PLOT.width / number
    start = 0
    for phase in phases:
        _draw_phase(drawing, phase, start, step, threshold)
        start += len(phase.statistics)
    _draw_axes(drawing, number, step, threshold)
    _draw_names(drawing, phases[-1].statistics[-1])
    return drawing


def _draw_phase(drawing: Drawing, phase: Phase, start: int, step: float, threshold: float) -> None:
    x = _PLOT.x + start * step
    width = len(phase.statistics) * step
    tone: Role = "watch" if phase.alarms else "serve"
    drawing.tile(Box(x + 2, _PLOT.y, width - 4, _PLOT.height), "watch-fill" if phase.alarms else "panel", 8)
    end = x + width
    for line, words in enumerate((phase.name, _count_alarms(phase))):
        text = Text(words, 17 if line == 0 else 15, tone if line == 0 else "soft", is_bold=line == 0)
        at, anchor = ((x + 4, 50 + 21 * line), "start") if start == 0 else ((end - 4, 50 + 21 * line), "end")
        drawing.text(text, at, "start" if anchor == "start" else "end")
    for column, window in enumerate(phase.statistics):
        middle = x + (column + 0.5) * step
        for place, name in enumerate(sorted(window)):
            offset = _JITTER * (place / max(1, len(window) - 1) - 0.5)
            is_above = window[name] >= threshold
            drawing.dot((middle + offset, _height(window[name])), 4, "watch" if is_above else "serve", 0.75)


def _draw_axes(drawing: Drawing, number: int, step: float, threshold: float) -> None:
    drawing.text(
        Text("Difference from the validation images (Kolmogorov-Smirnov D); one dot for each feature", 16, "ink"),
        (14, 20),
    )
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        drawing.text(Text(f"{tick:g}", 15), (_PLOT.x - 10, _height(tick) + 5), "end")
    for window in range(number):
        drawing.text(Text(f"{window + 1}", 15), (_PLOT.x + (window + 0.5) * step, _PLOT.bottom + 22), "middle")
    drawing.text(Text("window of 200 images", 16, "ink"), (_PLOT.x + _PLOT.width / 2, _PLOT.bottom + 50), "middle")
    y = _height(threshold)
    drawing.line([(_PLOT.x, y), (_PLOT.right, y)], "ink", is_dashed=True)
    drawing.text(Text(f"alarm from {threshold:.2f}", 15, "ink", is_bold=True), (_PLOT.right + 10, y + 5))


def _draw_names(drawing: Drawing, window: Mapping[str, float]) -> None:
    """Draw the names of the features with the largest D beside the last window."""
    largest = sorted(window, key=lambda name: -window[name])[:_NAMED]
    x, y = _PLOT.right + 10, _height(1) + 5
    drawing.text(Text("largest:", 16, "soft"), (x, y))
    for place, name in enumerate(largest, 1):
        drawing.text(Text(_words(name), 16, "watch"), (x, y + place * _NAME_GAP))


def _count_alarms(phase: Phase) -> str:
    alarms = f"{phase.alarms} alarm{'' if phase.alarms == 1 else 's'}" if phase.alarms else "no alarm"
    return f"{len(phase.statistics)} windows, {alarms}"


def _height(statistic: float) -> float:
    return _PLOT.bottom - 8 - statistic * (_PLOT.height - 16)


def _words(name: str) -> str:
    return name.replace("_", " ")
