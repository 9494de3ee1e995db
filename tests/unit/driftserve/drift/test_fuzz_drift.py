"""Fuzz tests: any pixels, windows and records give finite numbers or an error. `make fuzz` runs more examples."""

import contextlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from driftserve.archive.contract import Contract
from driftserve.drift.detection import detect_drift, is_drift
from driftserve.drift.features import features
from driftserve.drift.reference import to_reference
from driftserve.drift.window import count_rows
from driftserve.errors import DataError
from driftserve.images.raster import to_raster
from driftserve.images.statistics import IMAGE_STATISTICS
from driftserve.observations.replay import replay

pytestmark = pytest.mark.fuzz

NAMES = ("probability.a", "probability.b", "embedding.0")
SIDES = st.integers(1, 90)
IMAGES = st.tuples(SIDES, SIDES, st.just(3)).flatmap(lambda shape: st_np.arrays(np.uint8, shape))
VALUES = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0])  # with ties


def _rows(least: int, most: int) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    return st.integers(least, most).flatmap(lambda size: st_np.arrays(np.float64, (size, 3), elements=VALUES))


@given(IMAGES)
def test_the_statistics_of_any_image_are_finite(image: npt.NDArray[np.uint8]) -> None:
    row = features([to_raster(image)], np.array([[0.5, 0.5]]), np.zeros((1, 1), np.float32))[0]
    assert np.isfinite(row).all()
    brightness, contrast, saturation, clipping = row[-len(IMAGE_STATISTICS) :][:4]
    assert (0 <= brightness <= 255, 0 <= contrast <= 128, 0 <= saturation <= 1, 0 <= clipping <= 1) == (True,) * 4


@given(_rows(2, 60), _rows(1, 60), st.floats(1e-6, 0.5))
def test_any_window_has_p_values_and_one_verdict(
    rows: npt.NDArray[np.float64], window: npt.NDArray[np.float64], level: float
) -> None:
    reference = to_reference(NAMES, rows)
    counts = count_rows(window, reference)
    tests = detect_drift(counts, reference, level)
    assert all(0 <= test.p_value <= 1 and 0 <= test.statistic <= 1 for test in tests)
    assert all(
        np.isfinite(test.window).all() and list(test.window) == sorted(test.window)
        for test in tests
        if test.test != "chi2"
    )
    assert any(test.is_drift for test in tests) == is_drift(counts, reference, level)


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b'{"observations_before":' + b)))
def test_any_lines_are_replayed_or_refused(contract: Contract, lines: list[bytes]) -> None:
    with contextlib.suppress(DataError):
        assert list(replay(lines, contract, "0" * 64)) == []
