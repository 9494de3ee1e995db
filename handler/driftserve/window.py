"""A tumbling window: a fixed number of consecutive observations, none in two windows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class TumblingWindow:
    """Collects rows of features until `size` of them make a window."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[Sequence[float]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Sequence[float]) -> npt.NDArray[np.float64] | None:
        """The full window, shape (size, F), when this row fills it, which empties it; else None."""
        self._rows.append(row)
        if len(self._rows) < self._size:
            return None
        window = np.array(self._rows, dtype=np.float64)
        self._rows.clear()
        return window
