"""Bootstrap intervals: how much an estimate would move if other images of the same kind had been taken.

The percentile method (Efron and Tibshirani 1993, chapter 13) over 2,000 resamples. To draw N images with replacement
is to draw how often each kind of result comes from a multinomial distribution, so that a resample costs as much as
there are kinds of results, not images.
"""

import numpy as np
import numpy.typing as npt

from driftserve_training.evaluation.document import Interval

RESAMPLES = 2000

_ENDS = (2.5, 97.5)  # percentiles


def resample_confusion(confusion: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Confusion matrices, (2000, K, K), of images drawn with replacement from those of one, (K, K)."""
    return _resample(confusion.ravel(), seed).reshape(RESAMPLES, *confusion.shape)


def interval_of(value: float | npt.NDArray[np.float64], resampled: npt.NDArray[np.float64]) -> Interval:
    """An estimate, one number, with the interval that its resamples, (R,), give."""
    low, high = np.percentile(resampled, _ENDS)
    return Interval(float(value), float(low), float(high))


def mean_interval(values: npt.NDArray[np.float64], seed: int) -> Interval:
    """The mean of values, (N,), one an image, with its interval.

    What belongs to one image (its results under many corruptions, or of two networks) is one value: it is drawn
    together, as it depends on each other.
    """
    kinds, counts = np.unique(values, return_counts=True)
    return interval_of(float(values.mean()), _resample(counts, seed) @ kinds / len(values))


def _resample(counts: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """How often each kind comes, (2000, C), where `counts`, (C,), is how often it came."""
    number = counts.sum()
    return np.asarray(np.random.default_rng(seed).multinomial(number, counts / number, RESAMPLES))
