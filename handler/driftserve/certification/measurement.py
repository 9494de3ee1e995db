"""Measures a drift detector: false alarms on windows without drift, power on windows of corrupted images.

The production code, `is_drift`, is measured. Windows are drawn without replacement, since drawing with replacement from
a fixed pool violates the null hypothesis. A reference is itself a random draw, and an unlucky reference causes more
false alarms than the mean. So several references are drawn, and the worst rate is reported, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.archive.certificate import Certificate, FalseAlarms, Kind, Power
from driftserve.archive.contract import WINDOWS_IN_LONG, DriftPolicy
from driftserve.certification.corruption.imagenet_c import CORRUPTIONS, SEVERITIES
from driftserve.certification.population import Cell, Draw, Population, Rows
from driftserve.drift.detection import is_drift
from driftserve.drift.reference import Reference, estimate_accuracy, mean_confidence
from driftserve.drift.window import place_rows

SHORT_CORRUPTIONS = ("defocus_blur", "brightness", "jpeg_compression")  # one is harmful, two look harmless
SHORT_SEVERITIES = (1, 3)
SHORT_IMAGES = 300

_LEAST_CHOICE = 1.2  # least ratio of images to window size; with fewer images all windows are nearly the same


@dataclass(frozen=True)
class Effort:
    """How much to measure: corruptions with severities (`cells`), corrupted images, draws, and windows in each draw."""

    kind: Kind
    cells: tuple[Cell, ...]
    images: int | None  # most images to corrupt; None: all of them
    draws: int  # number of drawn references
    windows: int  # windows without drift in each draw
    corrupted_windows: int  # windows of corrupted images in each draw, for each cell


SHORT = Effort(
    "short",
    tuple((name, severity) for severity in SHORT_SEVERITIES for name in SHORT_CORRUPTIONS),
    SHORT_IMAGES,
    draws=5,
    windows=200,
    corrupted_windows=20,
)
FULL = Effort(
    "full",
    tuple((name, severity) for severity in SEVERITIES for name in CORRUPTIONS),
    images=None,
    draws=20,
    windows=5_000,
    corrupted_windows=20,
)


def certify(population: Population, policy: DriftPolicy, effort: Effort, source: str, seed: int) -> Certificate:
    """Measure a detector on repeated random halves of a population: one half is the reference, the other the traffic.

    If at most half of the images were corrupted, none of these is in a reference. A measurement for which there are too
    few images is left out.

    Args:
        population: The scored images.
        policy: The detector's window size and level.
        effort: `SHORT`, `FULL` or another.
        source: Text for the certificate: where the images come from.
        seed: Seed of the draws.
    """
    size, long_size = policy.window_size, policy.window_size * WINDOWS_IN_LONG
    draws = population.halves(effort.draws, seed)
    calm = [
        false_alarms(population, draws, length, level, effort.windows)
        for length, level in ((size, policy.level), (long_size, policy.long_level))
        if _has_choice(len(draws[0].traffic), length)
    ]
    return Certificate(
        kind=effort.kind,
        source=source,
        images=len(population.chosen),
        reference_images=draws[0].reference.size,
        draws=effort.draws,
        seed=seed,
        false_alarms=tuple(calm),
        power=tuple(_power(population, draws, cell, policy, effort.corrupted_windows) for cell in population.corrupted),
    )


def _has_choice(images: int, size: int) -> bool:
    """Return whether windows of this size, drawn from this many images, differ enough for a measurement."""
    return images >= size * _LEAST_CHOICE


def false_alarms(population: Population, draws: Iterable[Draw], size: int, level: float, windows: int) -> FalseAlarms:
    """Measure the false alarms on windows of clean images; `windows` is the number of windows in each draw."""
    rates = np.array(
        [
            alarm_rate(population.clean, draw.traffic, draw.reference, size, level, windows, draw.generator)
            for draw in draws
        ]
    )
    return to_false_alarms(rates, size, level, windows)


def to_false_alarms(rates: npt.NDArray[np.float64], size: int, level: float, windows: int) -> FalseAlarms:
    """Combine the draws' false alarm rates; `windows` is the number of windows in each draw."""
    return FalseAlarms(
        size=size,
        budget=level,
        windows=windows,
        rate=float(rates.mean()),
        upper_bound=upper_bound(rates, windows),
        worst=float(rates.max()),
    )


def alarm_rate(
    rows: Rows,
    pool: npt.NDArray[np.int64],
    reference: Reference,
    size: int,
    level: float,
    windows: int,
    generator: np.random.Generator,
) -> float:
    """Return the share of windows that raise an alarm. Windows are drawn from `pool`, which has indices of `rows`."""
    placed = place_rows(rows[pool], reference)
    alarms = sum(
        is_drift(placed.take(generator.choice(len(pool), size, replace=False)).count(reference), reference, level)
        for _ in range(windows)
    )
    return alarms / windows


def upper_bound(rates: npt.NDArray[np.float64], windows: int) -> float:
    """Return the one-sided upper 95 % bound of the mean of the draws' rates.

    The result is the larger of two bounds: Student's over the draws, and Clopper and Pearson's over all windows as if
    they were independent. The second bound is the larger one if no draw has an alarm.
    """
    total = len(rates) * windows
    alarms = round(float(rates.sum()) * windows)
    exact = float(stats.beta.ppf(0.95, alarms + 1, total - alarms)) if alarms < total else 1.0
    if len(rates) < 2:
        return exact
    student = rates.mean() + stats.t.ppf(0.95, len(rates) - 1) * rates.std(ddof=1) / np.sqrt(len(rates))
    return min(1.0, max(exact, float(student)))


def _power(population: Population, draws: Sequence[Draw], cell: Cell, policy: DriftPolicy, windows: int) -> Power:
    rows = population.corrupted[cell]
    place = {int(index): position for position, index in enumerate(population.chosen)}
    pools = [np.array([place[int(index)] for index in draw.traffic if int(index) in place], np.int64) for draw in draws]
    labels = len(draws[0].reference.labels)

    def power(size: int, level: float) -> float | None:
        if not _has_choice(min(map(len, pools)), size):
            return None
        rates = [
            alarm_rate(rows, pool, draw.reference, size, level, windows, draw.generator)
            for draw, pool in zip(draws, pools, strict=True)
        ]
        return float(np.mean(rates))

    estimates = [
        estimate_accuracy(
            mean_confidence(rows[pool], labels), draw.reference, _accuracy(population, draw.reference_indices, labels)
        )
        for draw, pool in zip(draws, pools, strict=True)
    ]
    right = (
        None if population.targets is None else rows[:, :labels].argmax(axis=1) == population.targets[population.chosen]
    )
    name, severity = cell
    return Power(
        corruption=name,
        severity=severity,
        power=power(policy.window_size, policy.level),
        long_power=power(policy.window_size * WINDOWS_IN_LONG, policy.long_level),
        accuracy=None if right is None else float(right.mean()),
        estimated_accuracy=float(np.mean(estimates)),
    )


def _accuracy(population: Population, indices: npt.NDArray[np.int64], labels: int) -> float:
    """Return the accuracy on some of the clean images; if their labels are unknown, return the mean confidence."""
    rows = population.clean[indices, :labels]
    if population.targets is None:
        return float(rows.max(axis=1).mean())
    return float((rows.argmax(axis=1) == population.targets[indices]).mean())
