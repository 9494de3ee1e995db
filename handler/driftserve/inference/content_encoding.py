"""Unpacks a request's body according to its Content-Encoding, gzip or deflate, within limits of bytes and time.

The codings are those of RFC 9110, section 8.4.1. The unpacked body has the limits of a body that was sent unpacked. The
ratio has no limit of its own, because a blank bitmap has the highest that deflate allows: 1,032 bytes from one.
"""

import time
import zlib

from driftserve.errors import RequestTooLarge, UndecodableBody, UnsupportedMediaType

_GZIP = ("gzip", "x-gzip")
_DEFLATE = "deflate"
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15  # zlib's `wbits` for each format
# Bytes that are unpacked between two looks at the clock. A step takes at most about 0.1 s.
_STEP_BYTES = 1 << 16
# The most members of a gzip body. Each takes microseconds, even if it is empty. Tools that compress blocks of 64 KiB
# make 400 members of 25 MB.
_MOST_MEMBERS = 1_000


def unpack(body: bytes, content_encoding: str, max_bytes: int, deadline: float) -> bytes:
    """Return the body without its coding. It is the same object if there is none.

    Args:
        body: the bytes as they were sent.
        content_encoding: the header's value; empty if there is no such header.
        max_bytes: the most bytes of the unpacked body.
        deadline: when to give up, a value of `time.thread_time`.

    Raises:
        UnsupportedMediaType: the coding is not supported, or there are several.
        UndecodableBody: the body is not complete, or does not have this coding.
        RequestTooLarge: the unpacked body is too large, or takes too long to unpack.
    """
    coding = _coding(content_encoding)
    return _inflated(body, coding, max_bytes, deadline) if coding else body


def _coding(content_encoding: str) -> str:
    """Return the only coding in lower case; empty if there is none, or `identity`."""
    codings = [name for name in (part.strip().lower() for part in content_encoding.split(",")) if name]
    codings = [name for name in codings if name != "identity"]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in (*_GZIP, _DEFLATE):
        raise UnsupportedMediaType(
            f"expected a Content-Encoding of gzip, deflate or identity, and only one, got {content_encoding[:80]!r}; "
            "send the body without a coding, and without this header"
        )
    return codings[0]


def _inflated(body: bytes, coding: str, max_bytes: int, deadline: float) -> bytes:
    bits = _window_bits(body, coding)
    parts: list[bytes] = []
    room, members = max_bytes, 1
    stream = zlib.decompressobj(bits)
    for start in range(0, len(body), _STEP_BYTES):
        step = body[start : start + _STEP_BYTES]
        while step:
            if stream.eof:  # gzip allows several members, one after the other
                members += 1
                if coding == _DEFLATE:
                    raise UndecodableBody(_message(coding, "more bytes after its end"))
                if members > _MOST_MEMBERS:
                    raise UndecodableBody(_message(coding, f"one with more than {_MOST_MEMBERS} members"))
                stream = zlib.decompressobj(bits)
            try:
                parts.append(stream.decompress(step, room + 1))
            except zlib.error as error:
                raise UndecodableBody(_message(coding, f"other bytes ({error})")) from error
            room -= len(parts[-1])
            if room < 0:
                raise RequestTooLarge(
                    f"expected a body of at most {max_bytes} bytes when unpacked, got more; send a smaller one"
                )
            if time.thread_time() > deadline:
                raise RequestTooLarge(
                    f"expected a body that is unpacked in time, got one of {len(body)} bytes that takes longer; send "
                    "it without a Content-Encoding"
                )
            step = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise UndecodableBody(_message(coding, f"only a part of one, in {len(body)} bytes"))
    return b"".join(parts)


def _window_bits(body: bytes, coding: str) -> int:
    """Return zlib's `wbits`. Many clients send deflate without the header of zlib that HTTP asks for."""
    if coding in _GZIP:
        return _GZIP_BITS
    has_header = len(body) >= 2 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    return _ZLIB_BITS if has_header else _RAW_BITS


def _message(coding: str, got: str) -> str:
    return f"expected a complete {coding} body, as the Content-Encoding says, got {got}; send one, or no such header"
