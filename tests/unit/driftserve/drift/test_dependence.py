import numpy as np
import numpy.typing as npt
import pytest

from driftserve.drift.dependence import (
    NO_DIFFERENCES,
    DesignEffects,
    bound_factors,
    design_effects,
    windows_to_calibrate,
)
from driftserve.drift.detection import is_drift, p_values_of
from driftserve.drift.reference import Reference, to_reference
from driftserve.drift.window import count_rows

NAMES = ("probability.a", "probability.b", "margin", "embedding.0")
SIZE = 200


def _rows(generator: np.random.Generator, number: int, session: int = 1) -> npt.NDArray[np.float64]:
    """Return rows of images in sessions. Images of a session have one label, and embeddings that are nearly equal."""
    sessions = -(-number // session)
    label = np.repeat(generator.random(sessions) < 0.4, session)[:number]
    centre = np.repeat(generator.normal(size=sessions), session)[:number]
    embedding = centre + 0.1 * generator.normal(size=number) + label  # the mean depends on the label
    return np.column_stack([np.where(label, 0.9, 0.1), np.where(label, 0.1, 0.9), generator.random(number), embedding])


@pytest.fixture
def reference(generator: np.random.Generator) -> Reference:
    return to_reference(NAMES, _rows(generator, 1000))


def _effects(rows: npt.NDArray[np.float64], reference: Reference) -> DesignEffects:
    differences = NO_DIFFERENCES
    for begin in range(0, len(rows), SIZE):
        differences = differences.added(count_rows(rows[begin : begin + SIZE], reference), reference)
    return design_effects(differences, SIZE, reference)


def test_the_design_effect_of_independent_images_is_one(generator: np.random.Generator, reference: Reference) -> None:
    effects = _effects(_rows(generator, 100 * SIZE), reference)
    assert effects.features[[0, 1, 2]] == pytest.approx(np.ones(3), abs=0.5)
    assert effects.features[3] == pytest.approx(0.85, abs=0.4)  # without the part that the label explains
    assert effects.mix == pytest.approx(1.0, abs=0.5)


def test_the_design_effect_of_equal_images_in_sessions_is_the_length_of_a_session(
    generator: np.random.Generator, reference: Reference
) -> None:
    effects = _effects(_rows(generator, 100 * SIZE, session=10), reference)
    assert effects.mix == pytest.approx(10, rel=0.45)
    assert effects.features[0] == pytest.approx(10, rel=0.45)
    assert effects.features[2] == pytest.approx(1, abs=0.5)  # these values are independent within a session
    assert effects.features[3] == pytest.approx(8, rel=0.5)


def test_a_slow_change_of_the_traffic_is_no_dependence(generator: np.random.Generator, reference: Reference) -> None:
    rows = _rows(generator, 100 * SIZE)
    rows[:, 3] += np.linspace(0, 2, len(rows))
    assert _effects(rows, reference).features[3] < 1.6
    means = rows[:, 3].reshape(100, SIZE).mean(axis=1)
    assert SIZE * means.var() / rows[:, 3].var() > 10  # so large is the effect in the spread of the windows


def test_the_bounds_hold_for_nine_in_ten_measurements(generator: np.random.Generator, reference: Reference) -> None:
    lower, upper = bound_factors(20)
    assert lower < 1 < upper
    measured = np.array([_effects(_rows(generator, 20 * SIZE), reference).features[2] for _ in range(60)])
    assert np.mean(measured * upper >= 1) >= 0.85
    assert np.mean(measured * lower <= 1) >= 0.85
    assert bound_factors(200)[1] < upper


def test_sessions_raise_no_alarm_with_their_design_effects(generator: np.random.Generator) -> None:
    reference = to_reference(NAMES, _rows(generator, 1000))
    effects = _effects(_rows(generator, 50 * SIZE, session=20), reference).at_least_one(bound_factors(50)[1])
    windows = [count_rows(_rows(generator, SIZE, session=20), reference) for _ in range(100)]
    assert sum(is_drift(window, reference, 0.001) for window in windows) > 20
    assert sum(is_drift(window, reference, 0.001, effects) for window in windows) <= 2


def test_a_window_is_worth_its_effective_number_of_images(generator: np.random.Generator, reference: Reference) -> None:
    window = count_rows(_rows(generator, 400) + np.array([0, 0, 0, 0.4]), reference)
    independent, dependent = (
        p_values_of(window, reference, effects) for effects in (None, DesignEffects(np.full(4, 2.0), 2.0))
    )
    assert (dependent >= independent - 0.02).all()  # large p-values are approximations
    assert dependent[3] > 10 * independent[3]


def test_the_calibration_takes_10_000_observations_but_at_least_20_windows() -> None:
    assert [windows_to_calibrate(size) for size in (20, 200, 300, 5000)] == [500, 50, 34, 20]
