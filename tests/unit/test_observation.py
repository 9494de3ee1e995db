import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve.observation import Observation, ObservationBatch, batch_from_bytes, batch_to_bytes

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=30), FLOATS)
def test_a_batch_survives_the_datagram_bit_by_bit(features: list[float], confidence: float) -> None:
    batch = ObservationBatch(
        model="ab" * 32,
        observations=(
            Observation(200, {"decode": 1.25, "total": math.pi}, "sea", confidence, tuple(features)),
            Observation(415, {"decode": 0.1}),
        ),
        dropped=3,
    )
    assert batch_from_bytes(batch_to_bytes(batch)) == batch


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"", b"{}", b"[]", b"\xff", b"[" * 200_000),
        b'{"model":"m","dropped":0,"observations":[1]}',
        b'{"model":"m","dropped":"many","observations":[]}',
    ],
    ids=range(7),
)
def test_a_strange_datagram_is_a_value_error(datagram: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|decode|Expecting|invalid literal"):
        batch_from_bytes(datagram)
