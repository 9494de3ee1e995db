from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from driftserve.drift.detection import detect_drift, holm, is_drift, p_values_of
from driftserve.drift.reference import Reference, to_reference
from driftserve.drift.report import QUANTILES, FeatureTest
from driftserve.drift.window import count_rows

LEVEL = 0.001


def _reference(generator: np.random.Generator, features: int, size: int = 1000) -> Reference:
    """Return a reference with two labels of equal probability and normally distributed features."""
    return to_reference(("probability.a", "probability.b", *_names(features)), _rows(generator, features, size))


def _names(features: int) -> tuple[str, ...]:
    return tuple(f"embedding.{i}" for i in range(features))


def _rows(generator: np.random.Generator, features: int, size: int) -> np.ndarray:
    return np.column_stack([np.full((size, 2), 0.5), generator.normal(size=(size, features))])


def _p_values(window: np.ndarray, reference: Reference) -> np.ndarray:
    return p_values_of(count_rows(window, reference), reference)


def _is_drift(window: np.ndarray, reference: Reference, level: float) -> bool:
    return is_drift(count_rows(window, reference), reference, level)


def _detect(window: np.ndarray, reference: Reference, level: float = LEVEL) -> tuple[FeatureTest, ...]:
    return detect_drift(count_rows(window, reference), reference, level)


def _drifted(tests: tuple[FeatureTest, ...]) -> list[str]:
    return [test.feature for test in tests if test.is_drift]


def _ks_statistic(sample: np.ndarray, reference: np.ndarray) -> float:
    """Return D by its definition: the largest distance between the two empirical distribution functions."""
    points = np.concatenate([sample, reference])
    return max(abs(float((sample <= x).mean()) - float((reference <= x).mean())) for x in points)


def _approximately(p_value: float) -> object:
    """Compare exactly near the levels of alarms, and to 0.02 above them."""
    return pytest.approx(p_value, abs=0.02 if p_value > 0.019 else 0.0)


@pytest.mark.parametrize(("size", "number"), [(150, 60), (300, 1200)])
def test_statistics_and_p_values_agree_with_scipy(generator: np.random.Generator, size: int, number: int) -> None:
    rows = _rows(generator, 4, size)
    rows[:, 2:] = rows[:, 2:].round(2)  # with ties
    window = _rows(generator, 4, number) + np.array([0, 0, 0.1, 0.0, -0.2, 0.4])
    window[:, 2:] = window[:, 2:].round(2)
    reference = to_reference(("probability.a", "probability.b", *_names(4)), rows)
    for test in _detect(window, reference):
        if test.test == "ks" and test.shift == "input":
            column = 2 + int(test.feature.removeprefix("embedding."))
            expected = stats.ks_2samp(window[:, column], rows[:, column], method="asymp")
            beyond_error = stats.kstwo.sf(expected.statistic - reference.error, number)
            assert test.statistic == pytest.approx(expected.statistic)
            assert test.p_value == _approximately(max(expected.pvalue, beyond_error))
            assert test.direction == ("lower" if expected.statistic_sign > 0 else "higher")


def test_the_asymptotic_p_value_is_near_the_exact_one_at_the_alarm_level(generator: np.random.Generator) -> None:
    for shift in (0.5, 0.6, 0.7):
        rows, window = _rows(generator, 1, 200), _rows(generator, 1, 1200) + np.array([0, 0, shift])
        exact = stats.ks_2samp(window[:, 2], rows[:, 2], method="exact").pvalue
        got = _p_values(window, to_reference(("probability.a", "probability.b", *_names(1)), rows))[2]
        assert got == pytest.approx(exact, rel=0.1)


def test_nine_in_ten_references_are_within_the_assumed_error(generator: np.random.Generator) -> None:
    error = _reference(generator, 1, 500).error
    distances = [stats.kstest(generator.normal(size=500), "norm").statistic for _ in range(1000)]
    assert np.mean(np.array(distances) < error) == pytest.approx(0.9, abs=0.03)


def test_a_reference_with_a_large_sampling_error_does_not_exceed_the_level(generator: np.random.Generator) -> None:
    level, rows = 0.02, _rows(generator, 1, 1200)
    rows[:, 2] = stats.norm.ppf((np.arange(1200) + 0.5) / 1200)  # quantiles of the exact distribution
    error = _reference(generator, 1, 1200).error
    rows[:, 2] += 2 * stats.norm.ppf(0.5 + error / 2)  # as far off as one reference in ten
    reference = to_reference(("probability.a", "probability.b", *_names(1)), rows)
    windows = [_rows(generator, 1, 200) for _ in range(700)]
    two_sample = [stats.ks_2samp(window[:, 2], rows[:, 2], method="asymp").pvalue for window in windows]
    assert np.mean(np.array(two_sample) <= level) > 2 * level
    assert np.mean([_p_values(window, reference)[2] <= level for window in windows]) <= level


def test_the_test_of_predicted_classes_agrees_with_scipy(generator: np.random.Generator) -> None:
    labels = ("a", "b", "c")
    rows, window = generator.dirichlet([1, 1, 1], 900), generator.dirichlet([2, 1, 1], 150)
    reference = to_reference([f"probability.{label}" for label in labels], rows)
    counts = [np.bincount(sample.argmax(axis=1), minlength=3) for sample in (window, rows)]
    expected = stats.chi2_contingency(counts, correction=False)
    (test,) = (test for test in _detect(window, reference) if test.test == "chi2")
    assert test.p_value == pytest.approx(expected.pvalue)
    shares = [count / count.sum() for count in counts]
    assert test.statistic == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert (test.shift, test.direction, test.is_drift) == ("label", "more a", True)
    assert np.allclose([test.window, test.reference], shares, atol=1e-5)


def test_rare_classes_are_tested_together(generator: np.random.Generator) -> None:
    labels, shares = "abcde", [0.01, 0.02, 0.05, 0.12, 0.8]
    rows, window = (np.eye(5)[generator.choice(5, size, p=shares)] for size in (1000, 200))
    counts = np.array([sample.sum(axis=0) for sample in (window, rows)])
    grouped = np.column_stack([counts[:, :4].sum(axis=1), counts[:, 4]])  # about 2, 4, 10, 24 and 160 are expected
    got = _p_values(window, to_reference([f"probability.{label}" for label in labels], rows))[-1]
    assert got == pytest.approx(stats.chi2_contingency(grouped, correction=False).pvalue)


def test_the_class_test_keeps_its_level_with_many_classes_and_detects_a_change(generator: np.random.Generator) -> None:
    names = [f"probability.{label}" for label in range(50)]

    def rows(size: int, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.eye(50)[generator.choice(50, size, p=shares)]

    even = np.full(50, 0.02)
    calm = [_p_values(rows(200, even), to_reference(names, rows(1200, even)))[-1] for _ in range(120)]
    assert np.mean(np.array(calm) <= 0.05) <= 0.09
    changed = np.where(np.arange(50) == 7, 0.255, 0.745 / 49)
    assert _p_values(rows(200, changed), to_reference(names, rows(1200, even)))[-1] < 1e-3


def test_single_images_of_unseen_classes_raise_no_alarm(generator: np.random.Generator) -> None:
    rows = np.zeros((1000, 40))
    rows[np.arange(1000), generator.integers(0, 2, 1000)] = 1.0
    window = rows[:100].copy()
    window[0] = np.eye(40)[7]  # a class that is not in the reference
    window[1] = np.eye(40)[8]
    reference = to_reference([f"probability.{label}" for label in range(40)], rows)
    assert _p_values(window, reference)[-1] > LEVEL


def test_p_values_are_uniform_without_drift_for_a_large_reference(generator: np.random.Generator) -> None:
    p_values = [_p_values(_rows(generator, 1, 100), _reference(generator, 1, 20_000))[2] for _ in range(250)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.04, abs=0.035)
    assert np.mean(p_values) == pytest.approx(0.55, abs=0.07)


def test_false_alarms_stay_within_the_budget(generator: np.random.Generator) -> None:
    alarms = sum(_is_drift(_rows(generator, 8, 200), _reference(generator, 8), 0.05) for _ in range(200))
    assert alarms <= 20  # 10 expected at level .05; P(more than 20) < .002


def test_there_is_drift_exactly_if_any_feature_has_drifted(generator: np.random.Generator) -> None:
    reference = _reference(generator, 5)
    for shift in np.linspace(0.0, 1.0, 30):
        window = _rows(generator, 5, 100) + np.array([0, 0, 0, shift, 0, 0, 0])
        assert _is_drift(window, reference, 0.01) == bool(_drifted(_detect(window, reference, 0.01)))


@pytest.mark.parametrize(("shift", "direction"), [(1.0, "higher"), (-1.0, "lower")])
def test_a_drifted_feature_is_reported_with_its_direction_and_quantiles(
    generator: np.random.Generator, shift: float, direction: str
) -> None:
    window = _rows(generator, 5, 200) + np.array([0, 0, 0, 0, 0, shift, 0])
    tests = _detect(window, _reference(generator, 5))
    assert _drifted(tests) == ["embedding.3"]
    assert (tests[0].feature, tests[0].direction, tests[0].shift) == ("embedding.3", direction, "input")
    assert np.allclose(tests[0].window, np.quantile(window[:, 5], QUANTILES), atol=0.02)
    assert np.allclose(tests[0].reference, stats.norm.ppf(QUANTILES), atol=0.2)
    assert [test.p_value for test in tests] == sorted(test.p_value for test in tests)


def test_columns_that_do_not_fit_the_reference_are_refused(generator: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="expected rows with 4 columns, got shape"):
        count_rows(np.zeros((10, 3)), _reference(generator, 2))


def test_holm_agrees_with_adjusted_p_values(generator: np.random.Generator) -> None:
    for _ in range(200):
        p_values = generator.uniform(0, 0.05, 7)
        order = np.argsort(p_values)
        adjusted = np.maximum.accumulate(p_values[order] * (7 - np.arange(7)))
        expected = np.empty(7, bool)
        expected[order] = adjusted <= 0.05
        assert holm(p_values.tolist(), 0.05) == expected.tolist()


def _labelled(generator: np.random.Generator, shares: Sequence[float], size: int) -> npt.NDArray[np.float64]:
    """Return rows of three labels with these shares; `embedding.0` and `margin` have another mean for each label."""
    label = generator.choice(3, size, p=shares)
    return np.column_stack(
        [0.1 + 0.7 * np.eye(3)[label], generator.normal(label, 0.3), generator.normal(2.0 * label, 1.0)]
    )


THREE_LABELS = ("probability.a", "probability.b", "probability.c", "margin", "embedding.0")


def _shifts(tests: tuple[FeatureTest, ...]) -> set[str]:
    return {test.shift for test in tests if test.is_drift}


def test_another_mix_of_labels_is_a_label_shift_only(generator: np.random.Generator) -> None:
    reference = to_reference(THREE_LABELS, _labelled(generator, [0.3, 0.3, 0.4], 1200))
    window = _labelled(generator, [0.6, 0.2, 0.2], 1000)
    assert _shifts(_detect(window, reference)) == {"label"}
    assert stats.ks_2samp(window[:, 4], reference.ordered[4]).pvalue < 1e-9  # unweighted, it looks like other images


def test_a_change_of_the_images_is_found_beside_a_change_of_the_mix(generator: np.random.Generator) -> None:
    reference = to_reference(THREE_LABELS, _labelled(generator, [0.3, 0.3, 0.4], 1200))
    window = _labelled(generator, [0.6, 0.2, 0.2], 1000) + np.array([0, 0, 0, 0, 0.5])
    assert _shifts(_detect(window, reference)) == {"label", "input"}
    window = _labelled(generator, [0.3, 0.3, 0.4], 1000) + np.array([0, 0, 0, 0.2, 0])
    assert _shifts(_detect(window, reference)) == {"confidence"}


def test_the_distance_is_that_to_the_reference_with_the_windows_mix(generator: np.random.Generator) -> None:
    rows, window = _labelled(generator, [0.3, 0.3, 0.4], 500), _labelled(generator, [0.6, 0.3, 0.1], 200)
    rows[:, 4], window[:, 4] = rows[:, 4].round(1), window[:, 4].round(1)  # with ties
    labels, of_window = rows[:, :3].argmax(axis=1), window[:, :3].argmax(axis=1)
    weights = (np.bincount(of_window) / np.bincount(labels))[labels] / 200
    assert weights.sum() == pytest.approx(1)
    points = np.concatenate([rows[:, 4], window[:, 4]])
    expected = max(abs((window[:, 4] <= x).mean() - weights[rows[:, 4] <= x].sum()) for x in points)
    (test,) = (test for test in _detect(window, to_reference(THREE_LABELS, rows)) if test.feature == "embedding.0")
    assert test.statistic == pytest.approx(expected)


def test_unequal_weights_make_the_reference_smaller(generator: np.random.Generator) -> None:
    reference = to_reference(THREE_LABELS, _labelled(generator, [0.3, 0.3, 0.4], 1000))
    assert reference.unweighted.size == 1000
    assert reference.weighting(np.array([1.0, 0.0, 0.0])).size == reference.class_counts[0]


def test_the_p_value_is_that_of_the_effective_size(generator: np.random.Generator) -> None:
    reference = to_reference(THREE_LABELS, _labelled(generator, [0.3, 0.3, 0.4], 1000))
    window = count_rows(_labelled(generator, [0.8, 0.1, 0.1], 200) + np.array([0, 0, 0, 0, 0.3]), reference)
    size = reference.weighting(window.class_counts / reference.class_counts).size
    (test,) = (test for test in detect_drift(window, reference, LEVEL) if test.feature == "embedding.0")
    two_sample = stats.kstwo.sf(test.statistic, round(200 * size / (200 + size)))
    beyond_error = stats.kstwo.sf(test.statistic - reference.error * np.sqrt(1000 / size), 200)
    assert test.p_value == _approximately(max(two_sample, beyond_error))


def test_a_window_of_labels_that_the_reference_lacks_is_compared_with_all_of_it(generator: np.random.Generator) -> None:
    reference = to_reference(THREE_LABELS, _labelled(generator, [0.5, 0.5, 0], 1000))
    window = _labelled(generator, [0, 0, 1], 200)
    assert _shifts(_detect(window, reference)) == {"label", "confidence", "input"}


@pytest.mark.parametrize("budget_of", ["label", "others"])
def test_each_family_has_its_share_of_the_budget(generator: np.random.Generator, budget_of: str) -> None:
    reference, level = to_reference(THREE_LABELS, _labelled(generator, [0.3, 0.3, 0.4], 1200)), 0.4
    alarms = 0
    for _ in range(150):
        shifts = _shifts(_detect(_labelled(generator, [0.3, 0.3, 0.4], 200), reference, level))
        alarms += bool(shifts & {"label"} if budget_of == "label" else shifts - {"label"})
    assert alarms / 150 <= level * (0.25 if budget_of == "label" else 0.75) + 0.05


def _with_atom(generator: np.random.Generator, share: float, scale: float, size: int) -> npt.NDArray[np.float64]:
    """Return rows with a feature that is 0 with this probability, and else exponential."""
    values = np.where(generator.random(size) < share, 0.0, generator.exponential(scale, size))
    return np.column_stack([np.full((size, 2), 0.5), values])


@pytest.mark.parametrize(
    ("share", "scale", "expected"),
    [
        (0.9, 1.0, None),
        (0.9, 4.0, ("ks", "higher")),  # a test of all values together is blind for this
        (0.9, 0.25, ("ks", "lower")),
        (0.6, 1.0, ("atom", "0 less often")),
        (1.0, 1.0, ("atom", "0 more often")),
    ],
)
def test_the_share_of_an_atom_and_the_other_values_are_tested_apart(
    generator: np.random.Generator, share: float, scale: float, expected: tuple[str, str] | None
) -> None:
    reference = to_reference(("probability.a", "probability.b", "clipping"), _with_atom(generator, 0.9, 1.0, 2000))
    (test,) = (
        test for test in _detect(_with_atom(generator, share, scale, 1000), reference) if test.feature == "clipping"
    )
    assert (test.is_drift, (test.test, test.direction)) == (
        expected is not None,
        expected or (test.test, test.direction),
    )


def test_tests_of_an_atom_keep_the_level(generator: np.random.Generator) -> None:
    names, level, alarms = ("probability.a", "probability.b", "clipping"), 0.1, 0
    for _ in range(200):
        reference = to_reference(names, _with_atom(generator, 0.5, 1.0, 500))
        alarms += _p_values(_with_atom(generator, 0.5, 1.0, 200), reference)[2] <= level
    assert alarms <= 30  # 20 expected at most; P(more than 30) < .01


def test_the_p_value_of_a_share_agrees_with_scipy() -> None:
    rows, window = np.full((400, 3), 0.5), np.full((100, 3), 0.5)
    rows[:240, 2], window[:80, 2] = 0.0, 0.0
    rows[240:, 2], window[80:, 2] = 1.0, 1.0
    reference = to_reference(("probability.a", "probability.b", "clipping"), rows)
    table = [[80, 20], [240, 160]]
    fisher = stats.fisher_exact(table, alternative="greater").pvalue
    highest = stats.binomtest(240, 400).proportion_ci(0.9).high
    expected = 2 * 2 * max(fisher, stats.binom.sf(79, 100, highest))  # two sides, and two tests of this feature
    assert _p_values(window, reference)[2] == pytest.approx(expected)
