from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from driftserve.drift.detection import detect_drift
from driftserve.drift.reference import Reference, to_reference
from driftserve.drift.report import QUANTILES
from driftserve.drift.window import TumblingWindow, WindowCounts, WindowImages, count_rows, quantiles_of

NAMES = ("probability.a", "probability.b", "embedding.0")
VALUES = st.floats(-3, 3) | st.sampled_from([0.0, 1.0])  # with ties


def _rows(size: st.SearchStrategy[int]) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    return size.flatmap(lambda number: st_np.arrays(np.float64, (number, 3), elements=VALUES))


@pytest.fixture
def reference() -> Reference:
    rows = np.column_stack([np.full((20, 2), 0.5), np.arange(20.0)])
    return to_reference(NAMES, rows)


def _row(value: float) -> tuple[float, ...]:
    return (0.5, 0.5, value)


def _values(counts: WindowCounts) -> list[int]:
    """Return the values of `embedding.0` that were counted; the reference's values are 0, 1, 2 and so on."""
    return [place for place, number in enumerate(counts.cells[2, 1::2]) for _ in range(number)]


def test_a_window_is_returned_when_full_and_no_row_is_in_two_windows(reference: Reference) -> None:
    window = TumblingWindow(3, reference)
    given = [window.add(_row(i), str(i)) for i in range(7)]
    full = [one for one in given if one is not None]
    assert [index for index, one in enumerate(given) if one is not None] == [2, 5]
    assert [_values(one) for one in full] == [[0, 1, 2], [3, 4, 5]]
    assert [one.observations for one in full] == [3, 3]
    assert (len(window), window.images.ids) == (1, ("6",))


@pytest.mark.parametrize(("before", "first"), [(0, 0), (1, 2), (5, 1), (6, 0)])
def test_the_rest_of_a_window_with_a_missing_start_is_skipped(reference: Reference, before: int, first: int) -> None:
    window = TumblingWindow(3, reference, before)
    given = [window.add(_row(i)) for i in range(6)]
    assert _values(next(one for one in given if one is not None)) == [first, first + 1, first + 2]


def test_an_image_that_comes_again_adds_to_the_length_only(reference: Reference) -> None:
    window = TumblingWindow(4, reference)
    given = [window.add(_row(i), image_id) for i, image_id in enumerate(["a", "b", "a", None, "a"])]
    full = given[3]
    assert full is not None
    assert (full.observations, _values(full)) == (3, [0, 1, 3])
    assert given[4] is None
    assert window.images.ids == ("a",)


def test_a_window_of_many_rows_is_counted_in_parts(reference: Reference) -> None:
    window, rows = TumblingWindow(1000, reference), np.random.default_rng(0).normal(8, 5, (1000, 3))
    full = [window.add(tuple(row)) for row in rows.tolist()][-1]
    assert full is not None
    _assert_equal(full, count_rows(rows, reference))


def test_images_are_known_until_their_window_is_full() -> None:
    images = WindowImages(3, 4, ["a"])
    assert images.has("a")
    assert not images.add("b")
    assert images.has("b")
    assert images.add(None)  # the last one of the incomplete window
    assert [images.has(image_id) for image_id in ("a", "b", None)] == [False] * 3
    assert images.is_complete


def test_images_of_a_full_window_are_unknown_to_the_next() -> None:
    images = WindowImages(3, 6, ["a"])
    assert not images.has("a")
    assert [images.add(str(i)) for i in range(3)] == [False, False, True]
    assert images.ids == ()


@given(_rows(st.integers(2, 40)), _rows(st.integers(1, 60)), st.lists(st.integers(0, 60), max_size=12))
def test_merged_parts_equal_one_window_of_all(
    rows: npt.NDArray[np.float64], window: npt.NDArray[np.float64], cuts: list[int]
) -> None:
    reference = to_reference(NAMES, rows)
    whole = count_rows(window, reference)
    parts = [count_rows(part, reference) for part in np.split(window, sorted(cuts))]
    merged = reduce(add, parts)
    _assert_equal(merged, whole)
    assert merged.confidence == whole.confidence
    assert detect_drift(merged, reference, 0.05) == detect_drift(whole, reference, 0.05)


@given(_rows(st.integers(2, 40)), _rows(st.integers(1, 60)))
def test_quantiles_are_between_the_neighbouring_values_of_the_reference(
    rows: npt.NDArray[np.float64], window: npt.NDArray[np.float64]
) -> None:
    reference = to_reference(NAMES, rows)
    got = quantiles_of(count_rows(window, reference), reference)
    for column in range(3):
        values = np.unique(rows[:, column])
        at_least, at_most = window[:, column].min(), window[:, column].max()
        for value, low, high in zip(
            got[column],
            np.quantile(window[:, column], QUANTILES, method="lower"),
            np.quantile(window[:, column], QUANTILES, method="higher"),
            strict=True,
        ):
            assert max([at_least, *values[(values <= low) & (values >= at_least)]]) <= value + 1e-12
            assert value - 1e-12 <= min([at_most, *values[(values >= high) & (values <= at_most)]])


def _assert_equal(one: WindowCounts, other: WindowCounts) -> None:
    assert (one.observations, one.confidence_units) == (other.observations, other.confidence_units)
    assert (one.cells == other.cells).all()
    assert (one.class_counts == other.class_counts).all()
    assert (one.lowest == other.lowest).all()
    assert (one.highest == other.highest).all()
