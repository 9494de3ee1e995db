"""Bootstrap intervals: how much an estimate would change with other images of the same kind.

This is the percentile method (Efron and Tibshirani 1993, chapter 13) over 2,000 resamples. A resample draws as many
images as there are, with replacement. That is the same as drawing the count of each kind of result from a multinomial
distribution. So the cost of a resample depends on the number of kinds of results, not on the number of images.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from driftserve_training.evaluation.confusion import Counts
from driftserve_training.evaluation.document import Interval

RESAMPLES = 2000
Measures = Mapping[str, npt.NDArray[np.float64]]

_DRAWN_AT_ONCE = 4_000_000  # counts of 8 bytes in memory; all resamples of 50,000 kinds of results would take 800 MB
_ENDS = (2.5, 97.5)  # percentiles at the ends of an interval


def resample(
    confusion: npt.NDArray[np.int64], seed: int, measure: Callable[[Counts], Measures]
) -> dict[str, npt.NDArray[np.float64]]:
    """Draw 2,000 resamples of the images in a confusion matrix; return their measures by name, (2000, ...).

    Only cells with images are drawn. Of a thousand classes most of the million cells are empty.

    Args:
        confusion: confusion matrix of K classes, (K, K).
        seed: seed of the draws.
        measure: takes the counts of R confusion matrices, (R, K) each, and returns their measures by name, (R, ...).
            It is called several times, each time with a part of the resamples.
    """
    flat, classes = confusion.ravel(), len(confusion)
    cells = np.union1d(np.flatnonzero(flat), flat.size - 1)  # numpy draws the last one without a random number
    rows, columns = np.divmod(cells, classes)
    actual, predicted = _indicator(rows, classes), _indicator(columns, classes)
    correct = actual.multiply((rows == columns)[:, None]).tocsr()
    parts = [
        measure(Counts(*(np.asarray(drawn @ cells_of, np.float64) for cells_of in (correct, actual, predicted))))
        for drawn in _resample(flat[cells], seed)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _indicator(classes_of_cells: npt.NDArray[np.int64], classes: int) -> sparse.csr_array:
    """Return for C cells and K classes which cell belongs to which class, (C, K)."""
    cells = np.arange(len(classes_of_cells))
    ones = np.ones(len(cells), np.int64)
    return sparse.csr_array((ones, (cells, classes_of_cells)), shape=(len(cells), classes))


def interval_of(value: float | npt.NDArray[np.float64], resampled: npt.NDArray[np.float64]) -> Interval:
    """Return an estimate with the interval of its R resampled values, (R,)."""
    low, high = np.percentile(resampled, _ENDS)
    return Interval(float(value), float(low), float(high))


def mean_interval(values: npt.NDArray[np.float64], seed: int) -> Interval:
    """Return the mean of the values of N images, (N,), with its interval.

    The results of one image, under many corruptions or of two networks, depend on each other. Combine them into one
    value, so that they are drawn together.
    """
    kinds, counts = np.unique(values, return_counts=True)
    means = np.concatenate([drawn @ kinds for drawn in _resample(counts, seed)]) / len(values)
    return interval_of(float(values.mean()), means)


def _resample(counts: npt.NDArray[np.int64], seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield 2,000 resamples of the counts of C kinds of results, (C,), in parts of R resamples, (R, C).

    All parts come from one stream of random numbers, so their size does not change the result.
    """
    number, generator = counts.sum(), np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(counts))
    for start in range(0, RESAMPLES, rows):
        yield generator.multinomial(number, counts / number, min(rows, RESAMPLES - start))
