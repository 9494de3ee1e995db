import contextlib
import gzip
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve.observations.observation import PHASES, Observation, ObservationBatch, batch_from_bytes
from observation_datagrams import to_datagram

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=()))  # including lone surrogates
OBSERVATIONS = st.builds(
    Observation,
    status=st.integers(100, 599),
    latency_ms=st.dictionaries(st.sampled_from(PHASES), FLOATS),
    label=st.none() | TEXTS,
    confidence=st.none() | FLOATS,
    features=st.none() | st.lists(FLOATS, max_size=30).map(tuple),
)
BATCHES = st.builds(
    ObservationBatch,
    model=TEXTS,
    answered_at=FLOATS,
    observations=st.lists(OBSERVATIONS, max_size=4).map(tuple),
    dropped=st.integers(0, 2**63),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(BATCHES)
def test_a_batch_is_restored_exactly_from_its_datagram(batch: ObservationBatch) -> None:
    datagram = to_datagram(batch)
    assert batch_from_bytes(datagram) == batch
    assert b"\n" not in datagram


def _is_batch_or_value_error(datagram: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(batch_from_bytes(datagram), ObservationBatch)


@given(st.binary())
def test_any_bytes_give_a_batch_or_a_value_error(datagram: bytes) -> None:
    _is_batch_or_value_error(datagram)


@given(BATCHES, st.sampled_from(["model", "answered_at", "dropped", "observations"]), JSON)
def test_any_field_gives_a_batch_or_a_value_error(batch: ObservationBatch, field: str, value: Any) -> None:
    _is_batch_or_value_error(json.dumps(json.loads(to_datagram(batch)) | {field: value}).encode())


@given(OBSERVATIONS, st.sampled_from(["status", "latency_ms", "label", "confidence", "features"]), JSON)
def test_any_field_of_an_observation_gives_a_batch_or_a_value_error(
    observation: Observation, field: str, value: Any
) -> None:
    document = json.loads(to_datagram(ObservationBatch("m", 0.0, (observation,))))
    document["observations"][0][field] = value
    _is_batch_or_value_error(json.dumps(document).encode())


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"", b"{}", b"[]", b"\xff", b"[" * 200_000),
        b'{"model":"m","answered_at":0,"dropped":0,"observations":[1]}',
        b'{"model":"m","answered_at":0,"dropped":"many","observations":[]}',
        b'{"model":"m","answered_at":0,"dropped":-1,"observations":[]}',
        b'{"model":"m","answered_at":0,"dropped":1e999,"observations":[]}',
        b'{"model":"m","answered_at":NaN,"dropped":0,"observations":[]}',
        b'{"model":"m","answered_at":1%s,"dropped":0,"observations":[]}' % (b"0" * 400),
        b'{"model":"m","dropped":0,"observations":[]}',
    ],
    ids=range(12),
)
def test_an_invalid_datagram_is_a_value_error(datagram: bytes) -> None:
    with pytest.raises(ValueError, match="expected a batch of observations, got"):
        batch_from_bytes(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        gzip.compress(random.Random(0).randbytes(100_000)),  # a record that somebody packed
        b'{"model":"m","answered_at":"%s","dropped":0,"observations":[]}' % (b"x" * 100_000),
    ],
    ids=["packed", "text"],
)
def test_the_error_about_a_long_line_is_short(datagram: bytes) -> None:
    with pytest.raises(ValueError, match="expected a batch of observations, got") as raised:
        batch_from_bytes(datagram)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_feature_that_is_not_finite_is_a_value_error(value: float) -> None:
    batch = ObservationBatch("m", 0.0, (Observation(200, {}, "sea", 0.5, (1.0, value)),))
    with pytest.raises(ValueError, match="expected a finite number"):
        batch_from_bytes(to_datagram(batch))
