"""Statistical tests for drift: does a window come from the reference's distribution?

There are two families of tests. The tests of input and confidence compare the window with the reference, weighted so
that both have the same mix of predicted labels: a change of the mix alone does not look like a change of the images.
The tests of the labels compare the mixes. Each family has its own share of the false-alarm budget.

In the shapes below, F is the number of features, K of labels, and M of reference images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from driftserve.drift.dependence import DesignEffects, no_effects
from driftserve.drift.features import shift_of
from driftserve.drift.reference import Atom, Reference, Weighting
from driftserve.drift.report import PREDICTED_CLASS, FeatureTest
from driftserve.drift.window import WindowCounts, quantiles_of

LABEL_SHARE = 0.25  # the labels' share of the budget; the tests of input and confidence have the rest

# The least expected predictions in a group of labels. Cochran's usual five are too few at levels of 1e-5.
_LEAST_EXPECTED = 20.0
_TAIL = 0.05  # in each tail, the probability that an atom's share is outside its confidence interval
_CLOSE = 1e-6  # far more than rounding changes a distance
_EXACT_UP_TO = 0.02  # above all usual levels
_DIGITS = 6  # significant digits in a report


@dataclass(frozen=True)
class _Result:
    """A test's result, with the fields of `FeatureTest`."""

    test: Literal["ks", "atom", "chi2"]
    statistic: float
    p_value: float
    direction: str


@dataclass(frozen=True)
class _Comparison:
    """The comparison of a window with the reference, before any p-value.

    `above` and `below` say how far the window's distribution function goes above and below the reference's, `numbers`
    the effective number of the window's images, `sizes` that of the reference's, each (F,). Where a
    feature has an atom, they are about the images without its value, and `atoms` has the test of the others' share.
    """

    above: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.float64]
    atoms: Mapping[int, _Result]  # by column


def detect_drift(
    window: WindowCounts, reference: Reference, level: float, effects: DesignEffects | None = None
) -> tuple[FeatureTest, ...]:
    """Test a window's features and its mix of predicted labels; return the tests, most significant first.

    The null hypothesis of a test of input or confidence is that among the images of each predicted label, window and
    reference come from the same distribution. That of a test of the labels is that both have the same mix of labels.
    Holm's procedure limits the probability of a false alarm, in each family to its share of `level`, even if the
    features depend on each other.

    Args:
        window: The counts of at least one image, against the same reference.
        reference: The reference to test against.
        level: Probability that a window without drift raises an alarm.
        effects: The design effects of the traffic; None if its images are independent of each other.
    """
    results = _test_all(window, reference, effects or no_effects(reference))
    rejected = _rejected([result.p_value for result in results], reference, level)
    counts = window.class_counts, reference.class_counts
    quantiles = [*quantiles_of(window, reference), counts[0] / counts[0].sum()]
    expected = [*reference.quantiles, counts[1] / counts[1].sum()]
    tests = (
        FeatureTest(
            feature=name,
            test=result.test,
            shift="label" if name == PREDICTED_CLASS else shift_of(name),
            statistic=result.statistic,
            p_value=result.p_value,
            direction=result.direction,
            window=_rounded(quantiles[index]),
            reference=_rounded(expected[index]),
            is_drift=rejected[index],
        )
        for index, (name, result) in enumerate(zip((*reference.names, PREDICTED_CLASS), results, strict=True))
    )
    return tuple(sorted(tests, key=lambda test: (test.p_value, -test.statistic)))


def is_drift(window: WindowCounts, reference: Reference, level: float, effects: DesignEffects | None = None) -> bool:
    """Return whether `detect_drift` would find drift.

    This is faster than `detect_drift`. A certificate uses it to test very many windows.
    """
    effects = effects or no_effects(reference)
    labels = len(reference.labels)
    share_of_labels, share_of_others = first_levels(reference, level)
    if max(share_of_labels, share_of_others) > _EXACT_UP_TO:
        return any(_rejected(p_values_of(window, reference, effects).tolist(), reference, level))
    comparison = _compare(window, reference, effects)
    levels = np.where(np.arange(len(reference.names)) < labels, share_of_labels, share_of_others)
    levels[list(comparison.atoms)] /= 2
    return bool(
        _is_any_beyond(comparison, reference, levels)
        or any(atom.p_value <= levels[column] for column, atom in comparison.atoms.items())
        or _test_classes(window, reference, effects.mix).p_value <= share_of_labels
    )


def p_values_of(
    window: WindowCounts, reference: Reference, effects: DesignEffects | None = None
) -> npt.NDArray[np.float64]:
    """Return the p-values of the F features, followed by that of the mix of predicted labels, shape (F + 1,)."""
    return np.array([result.p_value for result in _test_all(window, reference, effects or no_effects(reference))])


def first_levels(reference: Reference, level: float) -> tuple[float, float]:
    """Return the levels that the smallest p-value of each family must reach: of the labels, and of the others."""
    labels = len(reference.labels)
    others = len(reference.names) - labels
    return LABEL_SHARE * level / (labels + 1), (1 - LABEL_SHARE) * level / max(1, others)


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Return which hypotheses Holm's step-down procedure rejects at a family-wise `level` (Holm 1979).

    >>> holm([0.01, 0.04, 0.03], 0.05)
    [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _rejected(p_values: Sequence[float], reference: Reference, level: float) -> list[bool]:
    """Return which of the F + 1 tests are rejected, each family at its share of the level."""
    labels = len(reference.labels)
    of_labels = holm([*p_values[:labels], p_values[-1]], LABEL_SHARE * level)
    others = holm(p_values[labels:-1], (1 - LABEL_SHARE) * level)
    return [*of_labels[:-1], *others, of_labels[-1]]


def _test_all(window: WindowCounts, reference: Reference, effects: DesignEffects) -> list[_Result]:
    """Return the results for the F features, followed by that for the mix of predicted labels."""
    comparison = _compare(window, reference, effects)
    distances = np.maximum(comparison.above, comparison.below)
    p_values = _ks_p_values(distances, comparison, reference)
    results = [
        # If the window's distribution function is above the reference's, its values are lower.
        _Result("ks", float(distance), float(p_value), "lower" if is_lower else "higher")
        for distance, p_value, is_lower in zip(distances, p_values, comparison.above > comparison.below, strict=True)
    ]
    for column, atom in comparison.atoms.items():  # two tests, so Bonferroni's correction
        best = min(results[column], atom, key=lambda result: result.p_value)
        results[column] = replace(best, p_value=min(1.0, 2 * best.p_value))
    return [*results, _test_classes(window, reference, effects.mix)]


def _compare(window: WindowCounts, reference: Reference, effects: DesignEffects) -> _Comparison:
    same_mix = _weigh(window, reference)
    labels, features = len(reference.labels), len(reference.names)
    weightings = [reference.unweighted] * labels + [same_mix] * (features - labels)
    steps = np.concatenate([reference.unweighted.steps[:labels], same_mix.steps[labels:]])
    above, below = _distances(window.cells, window.observations, steps, reference.group_ends)
    numbers = np.full(features, float(window.observations))
    sizes = np.array([weighting.size for weighting in weightings])
    atoms = {}
    for column, atom in enumerate(reference.atoms):
        if atom is not None:
            effect = float(effects.features[column])
            atoms[column] = _test_atom(atom, window.cells[column], steps[column], sizes[column], effect)
            above[column], below[column], numbers[column], sizes[column] = _compare_others(
                column, atom, window.cells[column], weightings[column], reference
            )
    effective = np.maximum(1, np.round(numbers / effects.features)).astype(np.int64)
    return _Comparison(above, below, effective, sizes, atoms)


def _weigh(window: WindowCounts, reference: Reference) -> Weighting:
    """Return the reference's distribution functions with the window's mix of predicted labels.

    A label that the reference does not have cannot be weighted; its images in the window are compared with the others.
    """
    expected = np.maximum(reference.class_counts, 1) / reference.size
    weights = np.where(reference.class_counts > 0, window.class_counts / window.observations / expected, 0.0)
    return reference.weighting(weights) if weights.any() else reference.unweighted


def _distances(
    cells: npt.NDArray[np.int64], number: int, steps: npt.NDArray[np.float64], group_ends: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how far the window's distribution function goes above and below the reference's, each (F,).

    Args:
        cells: As in `WindowCounts`, (F, 2 * M + 1).
        number: The sum of each row of `cells`.
        steps: As in `Weighting`, (F, M + 1).
        group_ends: As in `Reference`, (F, M + 1).
    """
    up_to = cells.cumsum(axis=1) / number
    above = up_to[:, ::2] - np.take_along_axis(steps, group_ends, axis=1)  # at the end of each open cell
    below = steps[:, 1:] - up_to[:, 1::2]  # at each value of the reference
    return np.clip(above.max(axis=1), 0.0, 1.0), np.clip(below.max(axis=1), 0.0, 1.0)  # steps are rounded


def _ks_p_values(
    distances: npt.NDArray[np.float64], comparison: _Comparison, reference: Reference
) -> npt.NDArray[np.float64]:
    """Return the p-values of Kolmogorov-Smirnov distances D, (F,).

    Each p-value is the larger one of two tests. The first is the two-sample test, asymptotic as in
    `scipy.stats.ks_2samp` with method="asymp". It keeps the level on average over references, that is, over archives;
    equal values make it conservative. But a reference that is unusual by chance would raise false alarms again and
    again. So a second test must agree: a one-sample test of the part of D that exceeds the reference's own error.
    """
    on_average = _survival(distances, _joint_sizes(comparison))
    beyond_error = _survival(distances - _errors(comparison, reference), comparison.numbers)
    return np.asarray(np.maximum(on_average, beyond_error))


def _survival(distances: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the p-values of one-sample tests with these distances and numbers of images, (F,).

    They are exact up to `_EXACT_UP_TO`. Above it, where no verdict depends on them, Stephens' approximation (1970) is a
    hundred times faster, and at most 0.02 off for five images or more.
    """
    roots = np.sqrt(numbers)
    p_values = np.asarray(special.kolmogorov(np.maximum(distances, 0.0) * (roots + 0.12 + 0.11 / roots)))
    is_exact = p_values < _EXACT_UP_TO
    p_values[is_exact] = stats.kstwo.sf(distances[is_exact], numbers[is_exact])
    return p_values


def _is_any_beyond(comparison: _Comparison, reference: Reference, levels: npt.NDArray[np.float64]) -> bool:
    """Return whether any p-value of `_ks_p_values` is at most its level; `levels` has one for each feature, (F,).

    P-values are computed only for distances that are near the critical ones, or beyond them.
    """
    joint, errors = _joint_sizes(comparison), _errors(comparison, reference)
    on_average = [_critical(int(size), level) for size, level in zip(joint, levels.tolist(), strict=True)]
    beyond_error = [
        _critical(int(size), level) for size, level in zip(comparison.numbers, levels.tolist(), strict=True)
    ]
    distances = np.maximum(comparison.above, comparison.below)
    excess = distances - np.maximum(on_average, beyond_error + errors)
    for column in np.argsort(-excess):
        if excess[column] < -_CLOSE:
            return False
        one = np.array([column])
        p_value = np.maximum(
            _survival(distances[one], joint[one]), _survival((distances - errors)[one], comparison.numbers[one])
        )
        if p_value[0] <= levels[column]:
            return True
    return False


@lru_cache(maxsize=10_000)
def _critical(number: int, level: float) -> float:
    """Return the distance that has this p-value in a one-sample test."""
    return float(stats.kstwo.isf(level, number))


def _joint_sizes(comparison: _Comparison) -> npt.NDArray[np.int64]:
    """Return for each feature the size of one sample with the sampling error of window and reference together, (F,)."""
    numbers, sizes = comparison.numbers, comparison.sizes
    return np.maximum(1, np.round(numbers * sizes / (numbers + sizes))).astype(np.int64)


def _errors(comparison: _Comparison, reference: Reference) -> npt.NDArray[np.float64]:
    """Return the errors that the weighted reference may have, (F,), as `Reference.error`."""
    return np.asarray(reference.error * np.sqrt(reference.size / comparison.sizes))


def _compare_others(
    column: int, atom: Atom, cells: npt.NDArray[np.int64], weighting: Weighting, reference: Reference
) -> tuple[float, float, int, float]:
    """Compare a feature on the images without the atom's value; return the items of `_Comparison` for this column.

    Where many values are equal, a Kolmogorov-Smirnov test of all of them is blind for a change of the others.
    """
    others = cells.copy()
    others[2 * atom.begin + 1] = 0
    weights = np.delete(weighting.weights[reference.predicted[column]], np.s_[atom.begin : atom.end])
    if not others.any() or not weights.any():
        return 0.0, 0.0, 1, 1.0
    steps = weighting.steps[column].copy()
    steps[atom.end :] -= steps[atom.end] - steps[atom.begin]
    steps[atom.begin : atom.end] = steps[atom.begin]
    number = int(others.sum())
    above, below = _distances(
        others[np.newaxis], number, steps[np.newaxis] / steps[-1], reference.group_ends[column : column + 1]
    )
    return float(above[0]), float(below[0]), number, float(weights.sum() ** 2 / (weights**2).sum())


def _test_atom(
    atom: Atom, cells: npt.NDArray[np.int64], steps: npt.NDArray[np.float64], size: float, effect: float
) -> _Result:
    """Test that window and reference have the same share of images with the atom's value."""
    number, equal = int(cells.sum()), int(cells[2 * atom.begin + 1])
    share = float(steps[atom.end] - steps[atom.begin])
    change = equal / number - share
    effective = max(1, round(number / effect))
    p_value = _share_p_value(round(equal / number * effective), effective, share, size)
    return _Result("atom", abs(change), p_value, f"{atom.value:g} {'more' if change > 0 else 'less'} often")


def _share_p_value(equal: int, number: int, share: float, size: float) -> float:
    """Return the p-value of the test that a window and a reference have the same share of images with one value.

    As for the distances, two tests must agree: Fisher's exact test, and a binomial test against the end of the
    reference share's confidence interval (Clopper and Pearson's) that is nearer to the window's share.

    Args:
        equal: Number of the window's images with the value.
        number: Number of the window's images.
        share: The reference's share, in [0, 1].
        size: The reference's effective size.
    """
    images = max(1, round(size))
    expected = round(share * images)
    if equal / number > share:
        two_sample = stats.hypergeom.sf(equal - 1, number + images, equal + expected, number)
        highest = stats.beta.ppf(1 - _TAIL, expected + 1, images - expected) if expected < images else 1.0
        beyond_error = stats.binom.sf(equal - 1, number, highest)
    else:
        two_sample = stats.hypergeom.cdf(equal, number + images, equal + expected, number)
        lowest = stats.beta.ppf(_TAIL, expected, images - expected + 1) if expected > 0 else 0.0
        beyond_error = stats.binom.cdf(equal, number, lowest)
    return float(min(1.0, 2 * max(two_sample, beyond_error)))


def _test_classes(window: WindowCounts, reference: Reference, effect: float) -> _Result:
    """Test that window and reference have the same mix of predicted labels: Pearson's chi-square, rare labels grouped.

    The statistic is the total variation distance.
    """
    counts = np.array([window.class_counts, reference.class_counts], np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    change = shares[0] - shares[1]
    return _Result(
        "chi2",
        float(np.abs(change).sum() / 2),
        _class_p_value(counts, effect),
        f"more {reference.labels[int(change.argmax())]}",
    )


def _class_p_value(table: npt.NDArray[np.float64], effect: float) -> float:
    """Return the p-value for the counts of window and reference, (2, K), if the window has this design effect."""
    number, size = table.sum(axis=1)
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    share = table.sum(axis=1, keepdims=True) / table.sum()
    # Group by the totals of both samples. The groups must not depend on how the two samples differ.
    table = np.add.reduceat(table, _group_starts(table.sum(axis=0) * share.min()), axis=1)
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=0) * share
    chi_square = ((table - expected) ** 2 / expected).sum()
    correction = (1 / number + 1 / size) / (
        effect / number + 1 / size
    )  # Rao and Scott 1981; the reference has no effect
    return float(stats.chi2.sf(chi_square * correction, table.shape[1] - 1))


def _group_starts(expected: npt.NDArray[np.float64]) -> list[int]:
    """Return where groups of neighbouring labels begin: the smallest groups with enough expected predictions.

    >>> _group_starts(np.array([5.0, 6.0, 9.0, 12.0, 13.0, 30.0, 4.0]))
    [0, 3, 5]
    """
    starts, total = [0], 0.0
    for index, predictions in enumerate(expected):
        if total >= _LEAST_EXPECTED:
            starts.append(index)
            total = 0.0
        total += predictions
    if total < _LEAST_EXPECTED and len(starts) > 1:
        starts.pop()
    return starts


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
