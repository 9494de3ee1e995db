"""Leaves out the metadata of an image, so that corrupt metadata do not keep Pillow from the pixels."""

import struct
import zlib
from collections.abc import Callable

from driftserve.images.header import (
    GIF_HEADER_BYTES,
    INTEGER_CODES,
    MOST_STEPS,
    gif_palette_bytes,
    jpeg_segments,
    tiff_form,
)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_ANCILLARY = 0x20  # this bit of a chunk's first letter says that a decoder may skip the chunk
# The most chunks of a PNG that are looked at; the rest stays. Pillow reads no more on a `BoundedFile`.
_MOST_PNG_CHUNKS = 250_000

_JPEG_APPLICATION = range(0xE0, 0xF0)
# The segments from which libjpeg takes the colour space, with the shortest content that it accepts (jdmarker.c).
_JPEG_COLOUR_SEGMENTS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}

_GIF_CONTROL, _GIF_CONTROL_BYTES = 0xF9, 4  # the extension with the transparent colour

_WEBP_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_WEBP_PIXEL_FLAGS, _WEBP_EXIF_FLAG = 0x12, 0x08  # animation and alpha; EXIF

_ORIENTATION_TAG = 274
_TIFF_PIXEL_TAGS = frozenset(
    {
        *(254, 255),  # kind of image
        *(256, 257, 258, 259, 262, 266, 277, 284, 338, 339),  # size and form of the pixels
        *(273, 278, 279, 322, 323, 324, 325),  # strips and tiles
        *(292, 293, 317, 347, *range(512, 522)),  # options of compressions
        *(320, 332, 334, 529, 530, 531, 532),  # colours
        _ORIENTATION_TAG,
    }
)


def without_metadata(body: bytes) -> bytes:
    """Return an image with the parts that its pixels and its orientation depend on, and few or no others.

    Sound EXIF with the orientation stays, except in a JPEG; transparency goes, except in a GIF. Other formats than
    JPEG, PNG, GIF, TIFF and WebP are returned unchanged, and so are bytes that end too early.
    """
    for signature, strip in _STRIPPERS:
        if body.startswith(signature):
            try:
                return strip(body)
            except (struct.error, IndexError, OverflowError):
                return body
    return body


def _strip_png(body: bytes) -> bytes:
    """Keep the critical chunks and a sound eXIf chunk. Also the chunks of an animation go: the still image stays.

    Source: https://www.w3.org/TR/png-3/#5Chunk-naming-conventions
    """
    parts = [body[: len(_PNG_SIGNATURE)]]
    position = len(_PNG_SIGNATURE)
    for _ in range(_MOST_PNG_CHUNKS):
        if position + 8 > len(body):
            break
        length, name = struct.unpack_from(">L4s", body, position)
        chunk = body[position : position + length + 12]
        if not name[0] & _PNG_ANCILLARY or (
            name == b"eXIf" and chunk[-4:] == struct.pack(">L", zlib.crc32(chunk[4:-4]))
        ):
            parts.append(chunk)
        position += length + 12
    return b"".join([*parts, body[position:]])


def _strip_jpeg(body: bytes) -> bytes:
    """Hide the names of the application segments, except of those from which libjpeg takes the colour space."""
    hidden = bytearray(body)
    for marker, start, end in jpeg_segments(body):
        name, shortest = _JPEG_COLOUR_SEGMENTS.get(marker, (b"", 0))
        has_colours = name and body.startswith(name, start) and end - start >= shortest
        if marker in _JPEG_APPLICATION and not has_colours:
            name_end = min(start + 4, end, len(body))
            hidden[start:name_end] = b"-" * (name_end - start)
    return bytes(hidden)


def _strip_gif(body: bytes) -> bytes:
    """Drop the extensions before the first frame, except for a graphic control extension of the right length."""
    first = position = GIF_HEADER_BYTES + gif_palette_bytes(body[10])
    kept = []
    steps = 0
    while body[position] == 0x21:
        start, label, length = position, body[position + 1], body[position + 2]
        position += 2
        while body[position] and steps < MOST_STEPS:
            position += body[position] + 1
            steps += 1
        position += 1
        if label == _GIF_CONTROL and length == _GIF_CONTROL_BYTES:
            kept.append(body[start:position])
        if steps == MOST_STEPS:
            return body
        steps += 1
    return body[:first] + b"".join(kept) + body[position:]


def _strip_webp(body: bytes) -> bytes:
    """Keep the chunks of the pixels and a complete EXIF chunk, with the sizes and flags that fit them.

    Source: https://developers.google.com/speed/webp/docs/riff_container
    """
    kept: dict[int, bytes] = {}
    position = 12
    for _ in range(MOST_STEPS):
        if position + 8 > len(body):
            break
        name, length = struct.unpack_from("<4sL", body, position)
        chunk = body[position : position + 8 + length + length % 2]
        if name in _WEBP_PIXELS or (name == b"EXIF" and len(chunk) == 8 + length + length % 2):
            kept[position] = chunk
        position += 8 + length + length % 2
    if (extended := kept.get(12, b"")).startswith(b"VP8X"):
        has_exif = any(chunk.startswith(b"EXIF") for chunk in kept.values())
        flags = extended[8] & _WEBP_PIXEL_FLAGS | (_WEBP_EXIF_FLAG if has_exif else 0)
        kept[12] = extended[:8] + bytes([flags]) + extended[9:]
    chunks = b"".join(kept.values())
    return b"RIFF" + struct.pack("<L", 4 + len(chunks)) + b"WEBP" + chunks


def _strip_tiff(body: bytes) -> bytes:
    """Append a first directory with only the tags of the pixels and a sound orientation; the next ones stay."""
    form = tiff_form(body)
    (position,) = struct.unpack_from(form.order + form.offset, body, form.start)
    (entries,) = struct.unpack_from(form.order + form.number, body, position)
    position += struct.calcsize("<" + form.number)
    kept = []
    for entry in range(min(entries, MOST_STEPS)):
        at = position + form.entry_bytes * entry
        tag, kind, count = struct.unpack_from(form.order + "HH" + form.offset, body, at)
        is_sound = tag != _ORIENTATION_TAG or (kind in INTEGER_CODES and count == 1)
        if tag in _TIFF_PIXEL_TAGS and is_sound:
            kept.append(body[at : at + form.entry_bytes])
    link_bytes = struct.calcsize("<" + form.offset)
    link = body[position + form.entry_bytes * entries :][:link_bytes].ljust(link_bytes, b"\0")
    even = body + b"\0" * (len(body) % 2)
    directory = struct.pack(form.order + form.number, len(kept)) + b"".join(kept) + link
    start = struct.pack(form.order + form.offset, len(even))
    return even[: form.start] + start + even[form.start + link_bytes :] + directory


_STRIPPERS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (_PNG_SIGNATURE, _strip_png),
    (b"\xff\xd8\xff", _strip_jpeg),
    (b"GIF8", _strip_gif),
    (b"RIFF", _strip_webp),
    (b"II", _strip_tiff),
    (b"MM", _strip_tiff),
)
