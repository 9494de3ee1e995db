"""Traffic that is not independent: sessions of similar images, whose overall mix is that of independent traffic.

Each measure draws the traffic of one half of the images, against the other half as the reference. The images of the
traffic are divided into sessions of a geometrically distributed length, so that each image is in one session. Then the
sessions follow each other at random, and all is done again until there are enough images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import WINDOWS_IN_LONG, DriftPolicy
from driftserve.certification.population import Draw, Population, Rows
from driftserve.drift.calibration import Calibrator
from driftserve.drift.dependence import DesignEffects
from driftserve.drift.detection import detect_drift, is_drift
from driftserve.drift.window import PlacedRows, place_rows

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Likeness:
    """What makes the images of a session similar: positions of the N images; near ones are alike, (N, D)."""

    name: str
    positions: npt.NDArray[np.float64]


INDEPENDENT = Likeness("independent", np.zeros((0, 0)))


@dataclass(frozen=True)
class Alarms:
    """The alarms among a number of windows and of long windows."""

    alarms: int
    windows: int
    long_alarms: int
    long_windows: int

    def __add__(self, other: "Alarms") -> "Alarms":
        return Alarms(
            self.alarms + other.alarms,
            self.windows + other.windows,
            self.long_alarms + other.long_alarms,
            self.long_windows + other.long_windows,
        )


def in_sessions(traffic: Indices, likeness: Likeness, length: float, number: int, draw: Draw) -> Indices:
    """Return `number` indices of the traffic's images, in sessions of this mean length."""
    order: list[Indices] = []
    while sum(map(len, order)) < number:
        sessions = list(_sessions(draw.generator.permutation(traffic), likeness, length, draw.generator))
        order += [sessions[place] for place in draw.generator.permutation(len(sessions))]
    return np.concatenate(order)[:number]


def calibrate(
    population: Population, draws: Sequence[Draw], policy: DriftPolicy, likeness: Likeness, length: float
) -> list[DesignEffects]:
    """Return the design effects of each draw's traffic, after the first calibration on images in such sessions."""
    effects = []
    for draw in draws:
        calibrator = Calibrator(draw.reference, policy.window_size)
        order = in_sessions(draw.traffic, likeness, length, calibrator.needed * policy.window_size, draw)
        for window in _windows(place_rows(population.clean[order], draw.reference), policy.window_size):
            calibrator.add(window.count(draw.reference))
        if calibrator.effects is not None:
            effects.append(calibrator.effects)
    return effects


def calm(
    population: Population,
    draws: Sequence[Draw],
    policy: DriftPolicy,
    effects: Sequence[DesignEffects],
    used_on: tuple[Likeness, float],
    windows: int,
) -> Alarms:
    """Count the alarms in calm traffic in sessions, with each draw's design effects.

    `windows` is the number of windows in each draw.
    """
    found = Alarms(0, 0, 0, 0)
    for draw, one in zip(draws, effects, strict=True):
        order = in_sessions(draw.traffic, *used_on, windows * policy.window_size, draw)
        found += _count_alarms(place_rows(population.clean[order], draw.reference), draw, policy, one)
    return found


def observations_to_alarm(
    population: Population,
    draws: Sequence[Draw],
    policy: DriftPolicy,
    effects: Sequence[DesignEffects],
    used_on: tuple[Likeness, float],
    corrupted: Rows,
    share: float,
    windows: int,
) -> list[int | None]:
    """Return for each draw the number of observations up to the first alarm; None if there is none in these windows.

    The images are independently corrupted with the probability `share`. `corrupted` has the features of all images if
    they are corrupted, (N, F).
    """
    numbers: list[int | None] = []
    for draw, one in zip(draws, effects, strict=True):
        order = in_sessions(draw.traffic, *used_on, windows * policy.window_size, draw)
        is_corrupted = draw.generator.random(len(order)) < share
        rows = np.where(is_corrupted[:, np.newaxis], corrupted[order], population.clean[order])
        numbers.append(_first_alarm(place_rows(rows, draw.reference), draw, policy, one))
    return numbers


def shifts_of_changed_mixes(
    population: Population,
    targets: Indices,
    draws: Sequence[Draw],
    policy: DriftPolicy,
    variation: float,
    share: float,
    corrupted: Rows,
) -> list[set[str]]:
    """Return the shifts that the report of a long window names, for one window of each draw.

    The mix of classes is another one, at this total variation distance from the traffic's. A `share` of the images is
    corrupted too.
    """
    size = policy.window_size * WINDOWS_IN_LONG
    found = []
    for draw in draws:
        labels = targets[draw.traffic]
        mix = np.bincount(labels, minlength=len(draw.reference.labels)) / len(labels)
        weights = (_other_mix(mix, variation, draw.generator) / np.maximum(mix, 1e-9))[labels]
        order = draw.generator.choice(draw.traffic, size, p=weights / weights.sum())
        is_corrupted = draw.generator.random(size) < share
        rows = np.where(is_corrupted[:, np.newaxis], corrupted[order], population.clean[order])
        tests = detect_drift(place_rows(rows, draw.reference).count(draw.reference), draw.reference, policy.long_level)
        found.append({str(test.shift) for test in tests if test.is_drift})
    return found


def _sessions(traffic: Indices, likeness: Likeness, length: float, generator: np.random.Generator) -> Iterator[Indices]:
    if likeness is INDEPENDENT:
        yield from traffic[:, np.newaxis]
        return
    positions = likeness.positions[traffic]
    squares = (positions**2).sum(axis=1)
    is_left = np.ones(len(traffic), bool)
    for first in range(len(traffic)):
        if not is_left[first]:
            continue
        number = min(int(generator.geometric(1 / length)), int(is_left.sum()))
        distances = np.where(is_left, squares - 2 * positions @ positions[first], np.inf)
        distances[first] = -np.inf
        nearest = np.argpartition(distances, number - 1)[:number]
        is_left[nearest] = False
        yield traffic[generator.permutation(nearest)]


def _windows(rows: PlacedRows, size: int) -> Iterator[PlacedRows]:
    for begin in range(0, len(rows) - size + 1, size):
        yield rows.take(slice(begin, begin + size))


def _count_alarms(rows: PlacedRows, draw: Draw, policy: DriftPolicy, effects: DesignEffects) -> Alarms:
    counts = []
    for size, level in _horizons(policy):
        alarms = [
            is_drift(window.count(draw.reference), draw.reference, level, effects) for window in _windows(rows, size)
        ]
        counts += [sum(alarms), len(alarms)]
    return Alarms(*counts)


def _first_alarm(rows: PlacedRows, draw: Draw, policy: DriftPolicy, effects: DesignEffects) -> int | None:
    firsts = [
        next(
            (
                number * size
                for number, window in enumerate(_windows(rows, size), start=1)
                if is_drift(window.count(draw.reference), draw.reference, level, effects)
            ),
            None,
        )
        for size, level in _horizons(policy)
    ]
    return min((first for first in firsts if first is not None), default=None)


def _horizons(policy: DriftPolicy) -> tuple[tuple[int, float], ...]:
    size = policy.window_size
    return (size, policy.level), (size * WINDOWS_IN_LONG, policy.long_level)


def _other_mix(
    mix: npt.NDArray[np.float64], variation: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return a random mix at this total variation distance from `mix`."""
    while True:
        change = generator.normal(size=len(mix))
        change -= change.mean()
        other = mix + change * 2 * variation / np.abs(change).sum()
        if (other >= 0.01).all():
            return np.asarray(other / other.sum())
