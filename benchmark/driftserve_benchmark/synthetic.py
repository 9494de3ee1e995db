"""Rows of features without end, with the marginal distributions and the correlation of real ones."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.certification.population import Rows


class SyntheticFeatures:
    """A Gaussian copula fitted to rows, (N, F): the tests are of ranks, so what matters is how features go together.

    Windows of 1,000 cannot be drawn from 1,200 images without being nearly one and the same.
    """

    def __init__(self, rows: Rows) -> None:
        ranks = stats.rankdata(rows, axis=0)
        correlation = np.corrcoef(stats.norm.ppf(ranks / (len(rows) + 1)), rowvar=False)
        values, vectors = np.linalg.eigh(correlation)
        self._root = vectors * np.sqrt(values.clip(0))
        self._ordered = np.sort(rows, axis=0)

    def draw(self, number: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Independent rows, (number, F)."""
        normal = generator.standard_normal((number, len(self._root))) @ self._root.T
        places = stats.norm.cdf(normal) * (len(self._ordered) - 1)
        grid = np.arange(len(self._ordered))
        columns = [np.interp(place, grid, column) for place, column in zip(places.T, self._ordered.T, strict=True)]
        return np.column_stack(columns)
