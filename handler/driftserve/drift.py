"""The mathematics of drift: is this window drawn from the reference's distribution?"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.report import FeatureTest


def detect_drift(
    window: npt.NDArray[np.float64], reference: Mapping[str, Sequence[float]], level: float
) -> tuple[FeatureTest, ...]:
    """The tests of a window of features, shape (N, F), columns in the order of `reference`; most significant first.

    The null hypothesis, feature by feature, is that window and reference come from one continuous
    distribution. Holm's procedure keeps the probability that a window without drift raises an
    alarm at most `level`, over all features and whatever their dependence.

    Raises:
        ValueError: the window's columns are not as many as the reference's features.
    """
    if window.ndim != 2 or window.shape[1] != len(reference):
        raise ValueError(f"expected a window with {len(reference)} columns, got shape {window.shape}")
    results = [stats.ks_2samp(window[:, i], sample) for i, sample in enumerate(reference.values())]
    rejected = holm([float(result.pvalue) for result in results], level)
    tests = (
        FeatureTest(
            feature=name,
            statistic=float(result.statistic),
            p_value=float(result.pvalue),
            # scipy: +1 where the first sample's distribution function is above, that is its values are lower
            direction="lower" if result.statistic_sign > 0 else "higher",
            is_drift=is_rejected,
        )
        for name, result, is_rejected in zip(reference, results, rejected, strict=True)
    )
    return tuple(sorted(tests, key=lambda test: (test.p_value, -test.statistic)))


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at a family-wise `level` (Holm 1979).

    >>> holm([0.01, 0.04, 0.03], 0.05)
    [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
