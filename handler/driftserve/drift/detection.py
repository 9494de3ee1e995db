"""Statistical tests for drift: does a window come from the reference's distribution?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.drift.features import shift_of
from driftserve.drift.reference import Reference, class_counts
from driftserve.drift.report import PREDICTED_CLASS, QUANTILES, FeatureTest

# The least expected predictions in a group of labels. Cochran's usual five are too few at levels of 1e-5.
_LEAST_EXPECTED = 20.0
_DIGITS = 6  # significant digits in a report


def detect_drift(window: npt.NDArray[np.float64], reference: Reference, level: float) -> tuple[FeatureTest, ...]:
    """Test a window's features and its mix of predicted labels; return the tests, most significant first.

    The null hypothesis of each test is that window and reference come from the same distribution. Holm's procedure
    limits the probability of a false alarm to `level` over all tests, even if the features depend on each other.

    Args:
        window: Features of N images, shape (N, F), with the reference's F columns.
        reference: The reference to test against.
        level: Probability that a window without drift raises an alarm.

    Raises:
        ValueError: The window does not have the reference's columns.
    """
    if window.ndim != 2 or window.shape[1] != len(reference.names):
        raise ValueError(f"expected a window with {len(reference.names)} columns, got shape {window.shape}")
    above, below = _distances(window, reference)
    statistics = np.maximum(above, below)
    p_values = np.append(_p_values(statistics, len(window), reference), _class_p_value(window, reference))
    rejected = holm(p_values.tolist(), level)
    quantiles = np.quantile(window, QUANTILES, axis=0).T
    tests = [
        FeatureTest(
            feature=name,
            test="ks",
            shift=shift_of(name),
            statistic=float(statistics[column]),
            p_value=float(p_values[column]),
            # If the window's distribution function is above the reference's, its values are lower.
            direction="lower" if above[column] > below[column] else "higher",
            window=_rounded(quantiles[column]),
            reference=_rounded(reference.quantiles[column]),
            is_drift=rejected[column],
        )
        for column, name in enumerate(reference.names)
    ]
    tests.append(_class_test(window, reference, float(p_values[-1]), rejected[-1]))
    return tuple(sorted(tests, key=lambda test: (test.p_value, -test.statistic)))


def is_drift(window: npt.NDArray[np.float64], reference: Reference, level: float) -> bool:
    """Return whether `detect_drift` would find drift.

    This is faster than `detect_drift`. A certificate uses it to test very many windows.
    """
    largest = np.maximum(*_distances(window, reference)).max()  # the largest statistic has the smallest p-value
    smallest = min(float(_p_values(largest, len(window), reference)), _class_p_value(window, reference))
    return smallest <= level / (len(reference.names) + 1)


def p_values_of(window: npt.NDArray[np.float64], reference: Reference) -> npt.NDArray[np.float64]:
    """Return the p-values of the F features, followed by that of the mix of predicted labels, shape (F + 1,)."""
    statistics = np.maximum(*_distances(window, reference))
    return np.append(_p_values(statistics, len(window), reference), _class_p_value(window, reference))


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


def _distances(
    window: npt.NDArray[np.float64], reference: Reference
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how far the window's distribution function goes above and below the reference's, for each feature."""
    number, size = len(window), reference.size
    ordered = np.sort(window, axis=0).T  # (F, N)
    up_to = np.array(
        [sample.searchsorted(row, "right") for sample, row in zip(reference.ordered, ordered, strict=True)]
    )
    before = np.array(
        [sample.searchsorted(row, "left") for sample, row in zip(reference.ordered, ordered, strict=True)]
    )
    steps = np.arange(number + 1) / number
    return (steps[1:] - up_to / size).max(axis=1), (before / size - steps[:-1]).max(axis=1)


def _p_values(
    statistics: npt.NDArray[np.float64] | np.float64, number: int, reference: Reference
) -> npt.NDArray[np.float64]:
    """Return the p-values of Kolmogorov-Smirnov statistics D, for a window of `number` images.

    Each p-value is the larger one of two tests. The first is the two-sample test, asymptotic as in
    `scipy.stats.ks_2samp` with method="asymp". It keeps the level on average over references, that is, over archives;
    equal values make it conservative. But a reference that is unusual by chance would raise false alarms again and
    again. So a second test must agree: a one-sample test of the part of D that exceeds the reference's own error.
    """
    size = round(number * reference.size / (number + reference.size))
    on_average = stats.kstwo.sf(statistics, size)
    beyond_error = stats.kstwo.sf(statistics - reference.error, number)
    return np.asarray(np.maximum(on_average, beyond_error))


def _class_p_value(window: npt.NDArray[np.float64], reference: Reference) -> float:
    """Return the p-value of Pearson's chi-square test that window and reference have the same mix of predicted labels.

    Rare labels are grouped.
    """
    table = np.array([class_counts(window, len(reference.labels)), reference.class_counts], np.float64)
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    share = table.sum(axis=1, keepdims=True) / table.sum()
    # Group by the totals of both samples. The groups must not depend on how the two samples differ.
    table = np.add.reduceat(table, _group_starts(table.sum(axis=0) * share.min()), axis=1)
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=0) * share
    return float(stats.chi2.sf(((table - expected) ** 2 / expected).sum(), table.shape[1] - 1))


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


def _class_test(
    window: npt.NDArray[np.float64], reference: Reference, p_value: float, is_rejected: bool
) -> FeatureTest:
    counts = class_counts(window, len(reference.labels))
    shares, expected = counts / counts.sum(), reference.class_counts / reference.class_counts.sum()
    return FeatureTest(
        feature=PREDICTED_CLASS,
        test="chi2",
        shift="label",
        statistic=float(np.abs(shares - expected).sum() / 2),
        p_value=p_value,
        direction=f"more {reference.labels[int((shares - expected).argmax())]}",
        window=_rounded(shares),
        reference=_rounded(expected),
        is_drift=is_rejected,
    )


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
