import numpy as np
import pytest

from driftserve.window import TumblingWindow


def test_a_window_comes_when_it_is_full_and_none_is_in_two() -> None:
    window = TumblingWindow(3)
    given = [window.add((float(i), -float(i))) for i in range(7)]
    full = [rows for rows in given if rows is not None]
    assert [index for index, rows in enumerate(given) if rows is not None] == [2, 5]
    assert np.concatenate(full)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert full[0].shape == (3, 2)
    assert len(window) == 1


@pytest.mark.parametrize(("rows_before", "first"), [(0, 0), (1, 2), (5, 1), (6, 0)])
def test_the_rest_of_a_window_whose_beginning_is_gone_is_passed_over(rows_before: int, first: int) -> None:
    window = TumblingWindow(3, rows_before)
    given = [window.add((float(i),)) for i in range(6)]
    full = next(rows for rows in given if rows is not None)
    assert full[:, 0].tolist() == [first, first + 1, first + 2]
