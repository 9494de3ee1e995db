"""Bootstrap intervals: how much an estimate would move if other images of the same kind had been taken.

The percentile method (Efron and Tibshirani 1993, chapter 13) over 2,000 resamples. To draw N images with replacement
is to draw how often each kind of result comes from a multinomial distribution, so that a resample costs as much as
there are kinds of results, not images.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from driftserve_training.evaluation.document import Interval

RESAMPLES = 2000
Measures = Mapping[str, npt.NDArray[np.float64]]

_DRAWN_AT_ONCE = 4_000_000  # numbers of 8 bytes: a thousand classes would be 16 GB else
_ENDS = (2.5, 97.5)  # percentiles


def resample(
    confusion: npt.NDArray[np.int64], seed: int, measure: Callable[[npt.NDArray[np.int64]], Measures]
) -> dict[str, npt.NDArray[np.float64]]:
    """What 2,000 confusion matrices, of images drawn with replacement from those of one, come to: (2000, ...) by name.

    Args:
        confusion: (K, K).
        seed: of the draws.
        measure: given matrices, (R, K, K), their measures, (R, ...), by name; called with a part of them at a time.
    """
    parts = [measure(drawn.reshape(-1, *confusion.shape)) for drawn in _resample(confusion.ravel(), seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
    means = np.concatenate([drawn @ kinds for drawn in _resample(counts, seed)]) / len(values)
    return interval_of(float(values.mean()), means)


def _resample(counts: npt.NDArray[np.int64], seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each kind comes in 2,000 draws, (R, C) a part, where `counts`, (C,), is how often it came.

    The parts are those of one stream of random numbers: where they are cut changes nothing.
    """
    number, generator = counts.sum(), np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(counts))
    for start in range(0, RESAMPLES, rows):
        yield generator.multinomial(number, counts / number, min(rows, RESAMPLES - start))
