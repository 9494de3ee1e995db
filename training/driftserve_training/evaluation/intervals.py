"""Bootstrap intervals: how much an estimate would change with other images of the same kind.

The percentile method (Efron and Tibshirani 1993, chapter 13) over 2,000 resamples. Drawing N images with
replacement is the same as drawing the count of each kind of result from a multinomial distribution. So the cost of a
resample depends on the number of kinds of results, not on the number of images.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from driftserve_training.evaluation.document import Interval

RESAMPLES = 2000
Measures = Mapping[str, npt.NDArray[np.float64]]

_DRAWN_AT_ONCE = 4_000_000  # numbers of 8 bytes; all resamples of a thousand classes at once would take 16 GB
_ENDS = (2.5, 97.5)  # percentiles


def resample(
    confusion: npt.NDArray[np.int64], seed: int, measure: Callable[[npt.NDArray[np.int64]], Measures]
) -> dict[str, npt.NDArray[np.float64]]:
    """Draw 2,000 confusion matrices with replacement from the images of one; return measures by name, (2000, ...).

    Args:
        confusion: (K, K).
        seed: seed of the draws.
        measure: takes matrices, (R, K, K), and returns their measures, (R, ...), by name; gets a part of the 2,000 at
            a time.
    """
    parts = [measure(drawn.reshape(-1, *confusion.shape)) for drawn in _resample(confusion.ravel(), seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval_of(value: float | npt.NDArray[np.float64], resampled: npt.NDArray[np.float64]) -> Interval:
    """Return an estimate, one number, with the interval of its resamples, (R,)."""
    low, high = np.percentile(resampled, _ENDS)
    return Interval(float(value), float(low), float(high))


def mean_interval(values: npt.NDArray[np.float64], seed: int) -> Interval:
    """Return the mean of values, (N,), one for each image, with its interval.

    The results of one image, under many corruptions or of two networks, depend on each other. Combine them into one
    value, so that they are drawn together.
    """
    kinds, counts = np.unique(values, return_counts=True)
    means = np.concatenate([drawn @ kinds for drawn in _resample(counts, seed)]) / len(values)
    return interval_of(float(values.mean()), means)


def _resample(counts: npt.NDArray[np.int64], seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield how often each kind occurs in 2,000 draws, in parts of (R, C); `counts`, (C,), is how often it occurred.

    All parts come from one stream of random numbers, so their size does not change the result.
    """
    number, generator = counts.sum(), np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(counts))
    for start in range(0, RESAMPLES, rows):
        yield generator.multinomial(number, counts / number, min(rows, RESAMPLES - start))
