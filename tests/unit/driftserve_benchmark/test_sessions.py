"""Tests of traffic in sessions, on populations with known likeness."""

import numpy as np
import numpy.typing as npt
import pytest

from driftserve.archive.contract import DriftPolicy
from driftserve.certification.population import Draw, Population
from driftserve_benchmark import sessions
from driftserve_benchmark.sessions import INDEPENDENT, Likeness

NAMES = ("probability.a", "probability.b", "embedding.0")
POLICY = DriftPolicy(window_size=400, windows_between_false_alarms=100)


@pytest.fixture
def population(generator: np.random.Generator) -> Population:
    """Return images of two classes; the embedding says how alike two images are."""
    target = generator.integers(0, 2, 3000)
    rows = np.column_stack([0.9 - 0.8 * target, 0.1 + 0.8 * target, generator.normal(size=3000)])
    return Population(NAMES, rows, np.arange(3000), {("fog", 1): rows + np.array([0, 0, 1.5])}, target)


def _likeness(population: Population) -> Likeness:
    return Likeness("embedding", population.clean[:, 2:])


@pytest.fixture
def draws(population: Population) -> list[Draw]:
    return population.halves(2, seed=0)


def test_sessions_have_each_image_once_and_similar_neighbours(population: Population, draws: list[Draw]) -> None:
    traffic = draws[0].traffic
    order = sessions.in_sessions(traffic, _likeness(population), 10.0, len(traffic), draws[0])
    assert sorted(order) == sorted(traffic)
    independent = sessions.in_sessions(traffic, INDEPENDENT, 1.0, len(traffic), draws[0])
    assert sorted(independent) == sorted(traffic)

    def step(indices: npt.NDArray[np.int64]) -> float:
        return float(np.median(np.abs(np.diff(population.clean[indices, 2]))))

    assert step(order) < 0.1 * step(independent)
    assert len(sessions.in_sessions(traffic, _likeness(population), 3.0, 4000, draws[0])) == 4000


def test_a_calibration_on_sessions_prevents_their_false_alarms(population: Population, draws: list[Draw]) -> None:
    kind = _likeness(population), 20.0
    ones = sessions.calibrate(population, draws, POLICY, INDEPENDENT, 1.0)
    effects = sessions.calibrate(population, draws, POLICY, *kind)
    assert all(effect.features[2] > 3 * one.features[2] for effect, one in zip(effects, ones, strict=True))
    without = sessions.calm(population, draws, POLICY, ones, kind, 20)
    calibrated = sessions.calm(population, draws, POLICY, effects, kind, 20)
    assert (calibrated.windows, calibrated.long_windows) == (40, 8)
    assert calibrated.alarms + calibrated.long_alarms <= 1
    assert without.alarms > 4


def test_the_first_alarm_is_counted_in_observations(population: Population, draws: list[Draw]) -> None:
    effects = sessions.calibrate(population, draws, POLICY, INDEPENDENT, 1.0)
    seen, calm = (
        sessions.observations_to_alarm(
            population, draws, POLICY, effects, (INDEPENDENT, 1.0), population.corrupted["fog", 1], share, 5
        )
        for share in (1.0, 0.0)
    )
    assert seen == [400, 400]
    assert calm == [None, None]


def test_a_changed_mix_names_the_label_and_a_corruption_the_input(population: Population, draws: list[Draw]) -> None:
    targets = np.asarray(population.targets)
    alone, both = (
        sessions.shifts_of_changed_mixes(population, targets, draws, POLICY, 0.2, share, population.corrupted["fog", 1])
        for share in (0.0, 0.5)
    )
    assert alone == [{"label"}] * 2
    assert both == [{"label", "input"}] * 2
