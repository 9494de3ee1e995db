"""Fuzz tests: any bytes give a response or a documented error. `make fuzz` runs many more examples."""

import base64
import gzip
import json
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve.archive.contract import Contract
from driftserve.errors import BadRequest, RequestTooLarge
from driftserve.images.decode import ImageLimits, decode
from driftserve.inference.content_encoding import unpack
from driftserve.inference.instances import read_instances
from driftserve.inference.model import load_graph
from driftserve.inference.service import Request, RequestLimits, Service
from odd_images import SCENE, chunk, exif_block, gif_with, jpeg_with, odd_images, png_with

pytestmark = pytest.mark.fuzz

SMALL = ImageLimits(pixels=1_000_000, side=4_000, frames=10)
BODIES = [odd.body for odd in odd_images().values() if len(odd.body) < 10_000]
MAGICS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF____WEBPVP8X"]
FEW_BYTES = st.binary(max_size=12)
INSTANCE = st.fixed_dictionaries(
    {"b64": st.binary(min_size=1, max_size=20).map(lambda b: base64.b64encode(b).decode())}
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | INSTANCE,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["instances", "b64", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body with some bytes overwritten, inserted or removed, or with its end cut off."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.integers(0, 12))
        body = body[:start] + draw(FEW_BYTES) + body[end:]
    return body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body


CODINGS = st.sampled_from(["gzip", "x-gzip", "deflate", "identity", "", "br"]) | st.text(max_size=10)
PACKERS = {
    "gzip": gzip.compress,
    "GZIP": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:], 1),
    "deflate": zlib.compress,
    " deflate": lambda body: zlib.compress(body)[2:-4],
    "identity": bytes,
}


def _is_decoded_or_refused(body: bytes) -> None:
    try:
        decoded = decode(body, SMALL)
    except BadRequest:
        return
    assert (decoded.dtype, decoded.ndim, decoded.shape[2]) == (np.uint8, 3, 3)
    assert 0 < decoded.shape[0] * decoded.shape[1] <= SMALL.pixels


@given(st.sampled_from(BODIES).flatmap(mutated))
def test_a_mutated_image_is_decoded_or_refused(body: bytes) -> None:
    _is_decoded_or_refused(body)


@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_any_bytes_are_decoded_or_refused(magic: bytes, rest: bytes) -> None:
    _is_decoded_or_refused(magic + rest)


@given(mutated(exif_block(6)) | st.binary(max_size=100))
def test_no_exif_block_refuses_an_image(exif: bytes) -> None:
    assert set(decode(jpeg_with(b"Exif\0\0" + exif)).shape[:2]) == {24, 37}


@given(
    st.sampled_from(
        [b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"tIME", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"abCd"]
    ),
    st.binary(max_size=60),
    st.booleans(),
    st.booleans(),
)
def test_no_metadata_of_a_png_refuse_it(name: bytes, content: bytes, is_sum_right: bool, is_later: bool) -> None:
    part = chunk(name, content) if is_sum_right else chunk(name, content)[:-4] + b"sum?"
    assert np.array_equal(decode(png_with(later=part) if is_later else png_with(part)), SCENE)


@given(
    st.sampled_from([(0xE0, b"JFIF"), (0xEE, b"Adobe"), (0xE2, b"ICC_PROFILE\0"), (0xED, b"Photoshop 3.0\0")]),
    st.binary(max_size=60),
)
def test_no_metadata_of_a_jpeg_refuse_it(segment: tuple[int, bytes], content: bytes) -> None:
    assert decode(jpeg_with(segment[1] + content, segment[0])).shape == SCENE.shape


@given(st.sampled_from([0xF9, 0xFF, 0x01, 0x99]), st.binary(max_size=60))
def test_no_extension_of_a_gif_refuses_it(label: int, content: bytes) -> None:
    part = b"\x21" + bytes([label, len(content)]) + content + (b"\0" if content else b"")
    assert decode(gif_with(part)).shape == SCENE.shape


def _is_read_or_refused(body: bytes) -> None:
    try:
        instances = read_instances(body, 3)
    except BadRequest:
        return
    assert 1 <= len(instances) <= 3
    assert all(isinstance(instance, (bytes, BadRequest)) and instance != b"" for instance in instances)


@given(st.binary(max_size=300), st.integers(0, 200), st.sampled_from(sorted(PACKERS)))
def test_a_packed_body_gives_back_its_bytes_within_the_limit(body: bytes, times: int, coding: str) -> None:
    body *= times
    packed = PACKERS[coding](body)
    assert unpack(packed, coding, len(body), time.thread_time() + 60) == body
    if body and coding != "identity":
        with pytest.raises(RequestTooLarge, match="when unpacked"):
            unpack(packed, coding, len(body) - 1, time.thread_time() + 60)


@given(
    st.sampled_from(BODIES)
    .flatmap(lambda body: st.sampled_from([pack(body) for pack in PACKERS.values()]))
    .flatmap(mutated)
    | st.binary(max_size=100),
    CODINGS,
)
def test_any_packed_body_is_unpacked_or_refused(body: bytes, coding: str) -> None:
    try:
        unpacked = unpack(body, coding, 100_000, time.thread_time() + 60)
    except BadRequest:
        return
    assert len(unpacked) <= 100_000


@given(JSON)
def test_any_json_is_read_or_refused(document: object) -> None:
    _is_read_or_refused(json.dumps(document).encode())


@given(st.lists(INSTANCE, min_size=1, max_size=3).flatmap(lambda i: mutated(json.dumps({"instances": i}).encode())))
def test_a_mutated_json_body_is_read_or_refused(body: bytes) -> None:
    _is_read_or_refused(body)


@given(st.binary(max_size=200))
def test_any_bytes_as_json_are_read_or_refused(body: bytes) -> None:
    _is_read_or_refused(body)


@given(st.lists(INSTANCE, min_size=1, max_size=3))
def test_a_valid_json_body_gives_back_its_bytes(instances: list[dict[str, str]]) -> None:
    body = json.dumps({"instances": instances}).encode()
    assert read_instances(body, 3) == [base64.b64decode(instance["b64"]) for instance in instances]


@pytest.fixture(scope="module")
def service(contract: Contract, graph_file: Path) -> Service:
    return Service(
        contract,
        load_graph(graph_file, contract.image_spec),
        None,
        RequestLimits(max_bytes=5_000, max_instances=3, image=SMALL),
    )


@given(
    st.sampled_from(BODIES).flatmap(mutated) | st.binary(max_size=100),
    st.sampled_from(["image/png", "application/json", "text/plain", ""]) | st.text(max_size=10),
    st.booleans(),
    CODINGS,
)
def test_any_request_is_answered_with_json(
    service: Service, body: bytes, content_type: str, is_wrapped: bool, coding: str
) -> None:
    if is_wrapped:
        body = json.dumps({"instances": [{"b64": base64.b64encode(body).decode()}]}).encode()
    (response,) = service.predict([Request(body, content_type, "r-1", content_encoding=coding)])
    assert response.status in (200, 400, 413, 415)
    json.dumps(response.body, allow_nan=False)
