import gzip
import time
import tracemalloc
import zlib

import pytest

from driftserve.errors import BadRequest, RequestTooLarge, UndecodableBody, UnsupportedMediaType
from driftserve.inference.content_encoding import unpack

BODY = b"an image " * 50_000
ZLIB = zlib.compress(BODY)
RAW = ZLIB[2:-4]  # deflate without zlib's header and checksum


def _unpacked(body: bytes, content_encoding: str, max_bytes: int = len(BODY)) -> bytes:
    return unpack(body, content_encoding, max_bytes, time.thread_time() + 60)


@pytest.mark.parametrize(
    ("body", "content_encoding"),
    [
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), "GZip"),
        (gzip.compress(BODY), "x-gzip"),
        (gzip.compress(BODY), " identity, gzip ,"),
        (gzip.compress(BODY[:1000]) + gzip.compress(b"") + gzip.compress(BODY[1000:]), "gzip"),
        (ZLIB, "deflate"),
        (RAW, "deflate"),
        (zlib.compress(BODY, 0), "deflate"),
        (BODY, ""),
        (BODY, "identity"),
        (BODY, ", ,"),
    ],
)
def test_a_body_is_unpacked(body: bytes, content_encoding: str) -> None:
    assert _unpacked(body, content_encoding) == BODY


def test_a_body_without_a_coding_is_not_copied_or_measured() -> None:
    assert _unpacked(BODY, "identity", max_bytes=1) is BODY


@pytest.mark.parametrize(
    "content_encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "gzip;q=1", "*", "é"]
)
def test_another_coding_is_refused_and_names_the_header(content_encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"expected a Content-Encoding of gzip, deflate or identity.*got '"):
        _unpacked(gzip.compress(BODY), content_encoding)


@pytest.mark.parametrize(
    ("body", "content_encoding", "got"),
    [
        (b"", "gzip", "only a part of one, in 0 bytes"),
        (b"", "deflate", "only a part of one"),
        (BODY, "gzip", "other bytes"),
        (ZLIB, "gzip", "other bytes"),
        (gzip.compress(BODY), "deflate", "other bytes"),
        (gzip.compress(BODY)[:-1], "gzip", "only a part"),
        (ZLIB[:-1], "deflate", "only a part"),
        (gzip.compress(BODY) + b"trailing", "gzip", "other bytes"),
        (gzip.compress(BODY)[:-8] + bytes(8), "gzip", "other bytes"),  # a wrong checksum
        (ZLIB + b"x", "deflate", "more bytes after its end"),
        (RAW + b"x", "deflate", "more bytes after its end"),
        (gzip.compress(b"") * 1_001, "gzip", "one with more than 1000 members"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(body: bytes, content_encoding: str, got: str) -> None:
    with pytest.raises(UndecodableBody, match=f"expected a complete {content_encoding} body.*, got {got}"):
        _unpacked(body, content_encoding)


def test_a_body_is_unpacked_up_to_its_limit_and_no_further() -> None:
    for packed, coding in ((gzip.compress(BODY), "gzip"), (ZLIB, "deflate"), (RAW, "deflate")):
        assert _unpacked(packed, coding) == BODY
        with pytest.raises(RequestTooLarge, match=f"at most {len(BODY) - 1} bytes when unpacked"):
            _unpacked(packed, coding, len(BODY) - 1)


def test_a_body_over_the_limit_takes_no_more_memory_than_the_limit() -> None:
    body = gzip.compress(b"few") + gzip.compress(bytes(32 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(RequestTooLarge, match="at most 1000000 bytes"):
            _unpacked(body, "gzip", 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_a_body_that_takes_too_long_is_refused() -> None:
    with pytest.raises(RequestTooLarge, match="expected a body that is unpacked in time"):
        unpack(gzip.compress(BODY), "gzip", len(BODY), time.thread_time() - 1)


def test_every_error_is_the_callers() -> None:
    assert issubclass(UndecodableBody, BadRequest)
    assert UndecodableBody.status == 400
