"""Synthetic feature rows with the marginal distributions and the correlation of real ones, in any number."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from driftserve.certification.population import Rows


class SyntheticFeatures:
    """Generator of feature rows: a Gaussian copula, fitted to N rows of F features, (N, F).

    It is needed because windows of 1,000 images, drawn from 1,200, would be nearly identical. The drift tests use
    ranks, so the dependence between features matters most.
    """

    def __init__(self, rows: Rows) -> None:
        ranks = stats.rankdata(rows, axis=0)
        correlation = np.corrcoef(stats.norm.ppf(ranks / (len(rows) + 1)), rowvar=False)
        values, vectors = np.linalg.eigh(correlation)
        self._root = vectors * np.sqrt(values.clip(0))
        self._ordered = np.sort(rows, axis=0)

    def draw(self, number: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return `number` independent rows of F features, (number, F)."""
        normal = generator.standard_normal((number, len(self._root))) @ self._root.T
        places = stats.norm.cdf(normal) * (len(self._ordered) - 1)
        grid = np.arange(len(self._ordered))
        columns = [np.interp(place, grid, column) for place, column in zip(places.T, self._ordered.T, strict=True)]
        return np.column_stack(columns)
