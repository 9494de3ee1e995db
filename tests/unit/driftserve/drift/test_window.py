import numpy as np
import pytest

from driftserve.drift.window import TumblingWindow, Window, merge_windows


def test_a_window_is_returned_when_full_and_no_row_is_in_two_windows() -> None:
    window = TumblingWindow(3)
    given = [window.add((float(i), -float(i)), str(i)) for i in range(7)]
    full = [one for one in given if one is not None]
    assert [index for index, one in enumerate(given) if one is not None] == [2, 5]
    assert np.concatenate([one.rows for one in full])[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert [one.image_ids for one in full] == [("0", "1", "2"), ("3", "4", "5")]
    assert full[0].rows.shape == (3, 2)
    assert (len(window), window.image_ids) == (1, ("6",))


@pytest.mark.parametrize(("rows_before", "first"), [(0, 0), (1, 2), (5, 1), (6, 0)])
def test_the_rest_of_a_window_with_a_missing_start_is_skipped(rows_before: int, first: int) -> None:
    window = TumblingWindow(3, rows_before)
    given = [window.add((float(i),)) for i in range(6)]
    full = next(one for one in given if one is not None)
    assert full.rows[:, 0].tolist() == [first, first + 1, first + 2]


def test_images_are_known_until_their_window_is_full() -> None:
    window = TumblingWindow(3, 4, ["a"])
    assert window.has("a")
    window.add((0.0,), "b")
    assert window.has("b")
    window.add((0.0,), None)  # the last row of the skipped window
    assert [window.has(image_id) for image_id in ("a", "b", None)] == [False] * 3


def test_joining_windows_keeps_the_first_row_of_each_image() -> None:
    first = Window(np.array([[1.0], [2.0], [3.0]]), ("a", None, "b"))
    second = Window(np.array([[4.0], [5.0], [6.0]]), ("b", None, "c"))
    assert merge_windows([first, second])[:, 0].tolist() == [1.0, 2.0, 3.0, 5.0, 6.0]


def test_images_of_a_full_window_are_unknown_to_the_next() -> None:
    window = TumblingWindow(3, 6, ["a"])
    assert not window.has("a")
    given = [window.add((float(i),), str(i)) for i in range(3)]
    assert given[-1] is not None
    assert given[-1].image_ids == ("0", "1", "2")
