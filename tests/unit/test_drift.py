import numpy as np
import pytest

from driftserve.drift import detect_drift, holm
from driftserve.report import FeatureTest

LEVEL = 0.001


def _reference(generator: np.random.Generator, features: int, size: int = 1000) -> dict[str, tuple[float, ...]]:
    return {f"feature.{i}": tuple(generator.normal(size=size)) for i in range(features)}


def _drifted(tests: tuple[FeatureTest, ...]) -> list[str]:
    return [test.feature for test in tests if test.is_drift]


def _ks_statistic(sample: np.ndarray, reference: np.ndarray) -> float:
    """D by its definition: the largest distance of the two empirical distribution functions."""
    points = np.concatenate([sample, reference])
    return max(abs(float((sample <= x).mean()) - float((reference <= x).mean())) for x in points)


def test_the_statistic_is_the_largest_distance_of_the_distribution_functions(generator: np.random.Generator) -> None:
    reference = _reference(generator, 3, size=150)
    window = generator.normal(0.3, 1.2, (60, 3))
    for test in detect_drift(window, reference, LEVEL):
        column = list(reference).index(test.feature)
        assert np.isclose(test.statistic, _ks_statistic(window[:, column], np.array(reference[test.feature])))


def test_p_values_are_uniform_without_drift(generator: np.random.Generator) -> None:
    p_values = [
        detect_drift(generator.normal(size=(100, 1)), _reference(generator, 1, 500), LEVEL)[0].p_value
        for _ in range(400)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_calm_windows_are_ok_within_the_budget(generator: np.random.Generator) -> None:
    alarms = sum(
        bool(_drifted(detect_drift(generator.normal(size=(200, 8)), _reference(generator, 8), 0.05)))
        for _ in range(200)
    )
    assert alarms <= 20  # 10 expected at level .05; P(more than 20) < .002


@pytest.mark.parametrize(("shift", "direction"), [(1.0, "higher"), (-1.0, "lower")])
def test_a_moved_feature_is_named_with_its_direction(
    generator: np.random.Generator, shift: float, direction: str
) -> None:
    window = generator.normal(size=(200, 5))
    window[:, 3] += shift
    tests = detect_drift(window, _reference(generator, 5), LEVEL)
    assert _drifted(tests) == ["feature.3"]
    assert (tests[0].feature, tests[0].direction) == ("feature.3", direction)
    assert [test.p_value for test in tests] == sorted(test.p_value for test in tests)


def test_columns_that_do_not_fit_the_reference_are_refused(generator: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="expected a window with 2 columns, got shape"):
        detect_drift(np.zeros((10, 3)), _reference(generator, 2), LEVEL)


def test_holm_against_its_adjusted_p_values(generator: np.random.Generator) -> None:
    for _ in range(200):
        p_values = generator.uniform(0, 0.05, 7)
        order = np.argsort(p_values)
        adjusted = np.maximum.accumulate(p_values[order] * (7 - np.arange(7)))
        expected = np.empty(7, bool)
        expected[order] = adjusted <= 0.05
        assert holm(p_values.tolist(), 0.05) == expected.tolist()
