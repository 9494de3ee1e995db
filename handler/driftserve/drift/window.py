"""Tumbling windows: each has a fixed number of consecutive observations; they do not overlap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Window:
    """A full window: `rows` has the F features of N images, (N, F), `image_ids` the id of each, None if unknown."""

    rows: npt.NDArray[np.float64]
    image_ids: tuple[str | None, ...]


class TumblingWindow:
    """Collects rows of features until `size` rows make a window.

    Args:
        size: Number of rows in a window.
        rows_before: Number of rows before this object existed, which are lost. If they fill only a part of a window,
            that window is incomplete: its other rows are counted, but not returned.
        ids_before: Image ids of the lost rows of the incomplete window.
    """

    def __init__(self, size: int, rows_before: int = 0, ids_before: Iterable[str] = ()) -> None:
        self._size = size
        self._to_pass_over = -rows_before % size
        self._rows: list[Sequence[float]] = []
        self._image_ids: list[str | None] = list(ids_before) if self._to_pass_over else []
        self._known = set(self._image_ids)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The known image ids of the current window."""
        return tuple(image_id for image_id in self._image_ids if image_id is not None)

    def has(self, image_id: str | None) -> bool:
        """Return whether this image is already in the window."""
        return image_id is not None and image_id in self._known

    def add(self, row: Sequence[float], image_id: str | None = None) -> Window | None:
        """Add a row; return the window if this row completes it. Otherwise, or if rows of it are lost, return None."""
        self._image_ids.append(image_id)
        self._known.add(image_id)
        window = None
        if self._to_pass_over:
            self._to_pass_over -= 1
            if self._to_pass_over:
                return None
        else:
            self._rows.append(row)
            if len(self._rows) < self._size:
                return None
            window = Window(np.array(self._rows, dtype=np.float64), tuple(self._image_ids))
        self._rows.clear()
        self._image_ids.clear()
        self._known.clear()
        return window


def merge_windows(windows: Sequence[Window]) -> npt.NDArray[np.float64]:
    """Return the rows of several windows, (N, F). If an image is in several windows, keep only its first row."""
    image_ids = [image_id for window in windows for image_id in window.image_ids]
    first = {image_id: index for index, image_id in reversed(list(enumerate(image_ids))) if image_id is not None}
    is_kept = [image_id is None or first[image_id] == index for index, image_id in enumerate(image_ids)]
    return np.concatenate([window.rows for window in windows])[is_kept]
