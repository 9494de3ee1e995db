"""A tumbling window: a fixed number of consecutive observations, none in two windows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class TumblingWindow:
    """Collects rows of features until `size` of them make a window.

    `rows_before` rows came before, and are not here any more: the rest of the window that they
    began is passed over.
    """

    def __init__(self, size: int, rows_before: int = 0) -> None:
        self._size = size
        self._to_pass_over = -rows_before % size
        self._rows: list[Sequence[float]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Sequence[float]) -> npt.NDArray[np.float64] | None:
        """The full window, shape (size, F), when this row fills it, which empties it; else None."""
        if self._to_pass_over:
            self._to_pass_over -= 1
            return None
        self._rows.append(row)
        if len(self._rows) < self._size:
            return None
        window = np.array(self._rows, dtype=np.float64)
        self._rows.clear()
        return window
