"""Tumbling windows: each has a fixed number of consecutive observations; they do not overlap.

A window is kept as counts, not as rows of features: how many of its values are between two neighbouring values of the
reference, or equal to one. The Kolmogorov-Smirnov distance to a fixed reference needs no more. So the memory does not
depend on the window's length, and the counts of two windows add up to those of both together.

In the shapes below, F is the number of features, K of labels, M of reference images, and C = 2 * M + 1 of cells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftserve.drift.reference import Reference, predicted_labels
from driftserve.drift.report import QUANTILES

_CONFIDENCE_UNITS = 2**40  # units of the sum of confidences; sums of integers do not depend on their order
_MOST_PENDING = 256  # rows that are counted together


@dataclass(frozen=True)
class WindowCounts:
    """The counts of N observations.

    `cells` has the number of each feature's values in each cell, (F, C). Cell 2 * i is open, between the i-th and the
    next of the reference's ordered values. Cell 2 * i + 1 is for values equal to the next one; among equal values of
    the reference, the first counts. `lowest` and `highest` are each feature's extremes, (F,). `class_counts` has the
    number of predictions of each label, (K,). `confidence_units` is the sum of the confidences, as an integer.
    """

    observations: int
    cells: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    class_counts: npt.NDArray[np.int64]
    confidence_units: int

    @property
    def confidence(self) -> float:
        """The mean probability of the predicted label."""
        return self.confidence_units / _CONFIDENCE_UNITS / self.observations

    def __add__(self, other: "WindowCounts") -> "WindowCounts":
        """Return the counts of the observations of both."""
        return WindowCounts(
            self.observations + other.observations,
            self.cells + other.cells,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
            self.class_counts + other.class_counts,
            self.confidence_units + other.confidence_units,
        )


def no_counts(reference: Reference) -> WindowCounts:
    """Return the counts of no observation."""
    features = len(reference.names)
    return WindowCounts(
        0,
        np.zeros((features, 2 * reference.size + 1), np.int64),
        np.full(features, np.inf),
        np.full(features, -np.inf),
        np.zeros(len(reference.labels), np.int64),
        0,
    )


@dataclass(frozen=True)
class PlacedRows:
    """N rows of features, (N, F), with their places among the values of a reference, for many windows of these rows.

    `cells` has the index of each value's cell among the cells of all features, (N, F), `predicted` the index of each
    row's predicted label, (N,), `confidence_units` each row's confidence, (N,).
    """

    rows: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.intp]
    confidence_units: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: npt.NDArray[np.int64] | slice) -> "PlacedRows":
        """Return the rows with these indices."""
        return PlacedRows(
            self.rows[indices], self.cells[indices], self.predicted[indices], self.confidence_units[indices]
        )

    def count(self, reference: Reference) -> WindowCounts:
        """Return the counts of all rows; `reference` is the one that they were placed in."""
        features, labels = len(reference.names), len(reference.labels)
        cells = np.bincount(self.cells.ravel(), minlength=features * (2 * reference.size + 1))
        return WindowCounts(
            len(self),
            cells.reshape(features, -1),
            self.rows.min(axis=0, initial=np.inf),
            self.rows.max(axis=0, initial=-np.inf),
            np.bincount(self.predicted, minlength=labels),
            int(self.confidence_units.sum()),
        )


def place_rows(rows: npt.NDArray[np.float64], reference: Reference) -> PlacedRows:
    """Return N rows of features, (N, F), with their places in the reference.

    Raises:
        ValueError: The rows do not have the reference's columns.
    """
    if rows.ndim != 2 or rows.shape[1] != len(reference.names):
        raise ValueError(f"expected rows with {len(reference.names)} columns, got shape {rows.shape}")
    cells = np.empty(rows.shape, np.int64)
    for column, (values, ordered) in enumerate(zip(rows.T, reference.ordered, strict=True)):
        left, right = ordered.searchsorted(values, "left"), ordered.searchsorted(values, "right")
        cells[:, column] = 2 * left + (right > left)
    labels = len(reference.labels)
    return PlacedRows(
        rows,
        cells + np.arange(len(reference.names)) * (2 * reference.size + 1),
        predicted_labels(rows, labels),
        np.rint(rows[:, :labels].max(axis=1) * _CONFIDENCE_UNITS).astype(np.int64),
    )


def count_rows(rows: npt.NDArray[np.float64], reference: Reference) -> WindowCounts:
    """Return the counts of N rows of features, (N, F).

    Raises:
        ValueError: The rows do not have the reference's columns.
    """
    return place_rows(rows, reference).count(reference)


def quantiles_of(counts: WindowCounts, reference: Reference) -> npt.NDArray[np.float64]:
    """Return each feature's quantiles at `QUANTILES`, (F, Q).

    Values between two neighbouring values of the reference are taken to be at equal distances from each other.
    """
    ranks = np.multiply(QUANTILES, counts.observations - 1)
    lower = np.floor(ranks).astype(np.int64)
    upper = np.minimum(lower + 1, counts.observations - 1)
    share = ranks - lower
    result = np.empty((len(reference.names), len(QUANTILES)))
    for column, (ordered, cells) in enumerate(zip(reference.ordered, counts.cells, strict=True)):
        edges = np.concatenate([counts.lowest[column : column + 1], ordered, counts.highest[column : column + 1]])
        ends = cells.cumsum()
        below, above = (_values_at(places, cells, ends, edges) for places in (lower, upper))
        result[column] = below + share * (above - below)
    return np.clip(result, counts.lowest[:, np.newaxis], counts.highest[:, np.newaxis])


def _values_at(
    places: npt.NDArray[np.int64],
    cells: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    edges: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the values at these places, from 0, in the window's order; `ends` is the cumulative sum of `cells`."""
    cell = ends.searchsorted(places, "right")
    begin, end = edges[(cell + 1) // 2], edges[cell // 2 + 1]  # of a cell for equal values, both are that value
    number = places - ends[cell] + cells[cell] + 1  # within the cell, from 1
    return np.asarray(begin + (end - begin) * number / (cells[cell] + 1))


class WindowImages:
    """The images of the current one of consecutive windows, each of `size` observations.

    Args:
        size: Number of observations in a window.
        before: Number of observations before this object existed, which are lost. If they fill only a part of a window,
            that window is incomplete.
        ids_before: Image ids of the lost observations of the incomplete window.
    """

    def __init__(self, size: int, before: int = 0, ids_before: Iterable[str] = ()) -> None:
        self._size = size
        self._ids: dict[str, None] = dict.fromkeys(ids_before if before % size else ())
        self.observations = before % size
        self.is_complete = self.observations == 0

    @property
    def ids(self) -> tuple[str, ...]:
        """The known image ids."""
        return tuple(self._ids)

    def has(self, image_id: str | None) -> bool:
        """Return whether this image is already in the window."""
        return image_id in self._ids

    def add(self, image_id: str | None) -> bool:
        """Add an observation; return whether it is the window's last. The next one is then the first of a window."""
        self.observations += 1
        if self.observations < self._size:
            if image_id is not None:
                self._ids[image_id] = None
            return False
        self._ids.clear()
        self.observations, self.is_complete = 0, True
        return True


class TumblingWindow:
    """Counts observations until a window is full. An image that comes again adds to the window's length only.

    Args:
        size: Number of observations in a window.
        reference: The reference whose values divide the counts.
        before: As for `WindowImages`; the observations of an incomplete window are not counted.
        ids_before: As for `WindowImages`.
    """

    def __init__(self, size: int, reference: Reference, before: int = 0, ids_before: Iterable[str] = ()) -> None:
        self.images = WindowImages(size, before, ids_before)
        self._reference = reference
        self._counts = no_counts(reference)
        self._pending: list[Sequence[float]] = []

    def __len__(self) -> int:
        return self.images.observations if self.images.is_complete else 0

    def add(self, row: Sequence[float], image_id: str | None = None) -> WindowCounts | None:
        """Add an observation; return the window's counts if it is full and none of it is lost, else None."""
        is_complete = self.images.is_complete
        if is_complete and not self.images.has(image_id):
            self._pending.append(row)
            if len(self._pending) == _MOST_PENDING:
                self._count()
        if not self.images.add(image_id):
            return None
        self._count()
        counts, self._counts = self._counts, no_counts(self._reference)
        return counts if is_complete else None

    def _count(self) -> None:
        if self._pending:
            self._counts += count_rows(np.array(self._pending, dtype=np.float64), self._reference)
            self._pending.clear()
