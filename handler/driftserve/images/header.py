"""Reads sizes, frame counts and EXIF of images without Pillow, whose readers do too much work or trust too much."""

import struct
from dataclasses import dataclass

_SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"GIF8", "GIF"))
_UPRIGHT = 1  # the EXIF orientation of an image that is already upright
GIF_HEADER_BYTES = 13
_ORIENTATION_TAG = 0x0112
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
# The most JPEG segments, or tags of a TIFF's first page, that are looked at. Pillow cannot reach more of them on a
# `BoundedFile`: each takes at least one read of at least one byte. A long body allows 10,000 reads; a short one has at
# most 32,768 bytes.
MOST_STEPS = 40_000
_JPEG_SCAN, _JPEG_APP1 = 0xDA, 0xE1
# Second bytes of JPEG markers without a length field: those with the handler None in Pillow's table, and FF 00.
_JPEG_WITHOUT_LENGTH = frozenset({0x00, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_TILE_TAGS = (322, 323)  # TIFF tags TileWidth and TileLength
INTEGER_CODES = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q"}  # TIFF type to struct code
_BYTES_KINDS = (1, 2, 7)  # TIFF types BYTE, ASCII, UNDEFINED; all values of such a tag are one Python object in Pillow
_UNKNOWN_SIDE = 2**31  # a tile's side whose type is not an integer: too long for every limit


def format_of(body: bytes) -> str:
    """Return the format of an image that can be decoded, by its first bytes: a name that Pillow uses."""
    if body.startswith(b"RIFF"):
        return "WEBP"
    if body[4:8] == b"ftyp":
        return "AVIF"
    return next((name for signature, name in _SIGNATURES if body.startswith(signature)), "TIFF")


def webp_size(body: bytes) -> tuple[int, int] | None:
    """Return width and height of a WebP; None if the bytes are not a WebP of at least 30 bytes.

    A chunk of unknown type is read as VP8. Pillow is not used, because it allocates libwebp's buffers, eight bytes per
    pixel, before it can return the size.
    Source: https://developers.google.com/speed/webp/docs/riff_container and RFC 6386, section 9.1.
    """
    if not (body.startswith(b"RIFF") and body[8:12] == b"WEBP" and len(body) >= 30):
        return None
    kind = body[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[24:27], "little"), 1 + int.from_bytes(body[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 26)
    return width & 0x3FFF, height & 0x3FFF


def count_gif_frames(body: bytes, limit: int) -> int:
    """Count the frames of a GIF, up to limit + 1. In a truncated GIF, count the frames that begin before its end.

    Pillow is not used, because its `n_frames` parses every frame, and its `seek` decodes them.
    Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    frames = 0
    try:
        position = GIF_HEADER_BYTES + gif_palette_bytes(body[10])
        while frames <= limit:
            if body[position] == 0x2C:  # an image: descriptor, palette, one byte of code size
                frames += 1
                position += 11 + gif_palette_bytes(body[position + 9])
            elif body[position] == 0x21:  # an extension: introducer, label
                position += 2
            else:
                break
            while length := body[position]:
                position += length + 1
            position += 1
    except IndexError:
        pass
    return frames


def gif_palette_bytes(flags: int) -> int:
    """Return the length of the palette that a GIF's flags announce, in bytes."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def count_tiff_frames(body: bytes, limit: int) -> int:
    """Count the pages (frames) of a TIFF or BigTIFF, up to limit + 1. Stop at a page that was already counted.

    Pillow is not used, because its `n_frames` and `seek` load every tag of every page.
    Source: TIFF 6.0, section 2; https://www.awaresystems.be/imaging/tiff/bigtiff.html
    """
    form = tiff_form(body)
    seen: set[int] = set()
    try:
        (position,) = struct.unpack_from(form.order + form.offset, body, form.start)
        while position and position not in seen and len(seen) <= limit:
            seen.add(position)
            (entries,) = struct.unpack_from(form.order + form.number, body, position)
            position += struct.calcsize("<" + form.number) + form.entry_bytes * entries
            (position,) = struct.unpack_from(form.order + form.offset, body, position)
    except (struct.error, OverflowError):
        pass
    return len(seen)


@dataclass(frozen=True)
class TiffDirectory:
    """The work that the first page of a TIFF causes, by its tags in the first image file directory (IFD).

    `numbers` counts the values of all tags, except texts and bytes: Pillow makes a Python object of each value. `tile`
    is the largest width and length of a tile, or None if the page has no tiles. A decoder allocates memory for a whole
    tile.
    """

    numbers: int
    tile: tuple[int, int] | None


def first_tiff_directory(body: bytes) -> TiffDirectory | None:
    """Return how much work the first directory of a TIFF or BigTIFF causes; None if the bytes are neither.

    In a truncated file, only the tags before its end count.
    """
    if body[:2] not in _BYTE_ORDERS:
        return None
    form = tiff_form(body)
    numbers, sides = 0, [0, 0]
    try:
        (position,) = struct.unpack_from(form.order + form.offset, body, form.start)
        (entries,) = struct.unpack_from(form.order + form.number, body, position)
        position += struct.calcsize("<" + form.number)
        for entry in range(min(entries, MOST_STEPS)):
            at = position + form.entry_bytes * entry
            tag, kind, count = struct.unpack_from(form.order + "HH" + form.offset, body, at)
            numbers += 0 if kind in _BYTES_KINDS else count
            if tag in _TILE_TAGS:
                value_at = at + struct.calcsize("<HH" + form.offset)
                code = INTEGER_CODES.get(kind)
                side = struct.unpack_from(form.order + code, body, value_at)[0] if code else _UNKNOWN_SIDE
                sides[_TILE_TAGS.index(tag)] = max(side, sides[_TILE_TAGS.index(tag)])
    except (struct.error, OverflowError, IndexError):
        pass
    return TiffDirectory(numbers, (max(sides[0], 1), max(sides[1], 1)) if any(sides) else None)


@dataclass(frozen=True)
class TiffForm:
    """The byte order, and the struct codes and positions that differ between TIFF and BigTIFF."""

    order: str
    offset: str
    number: str
    start: int
    entry_bytes: int


def tiff_form(body: bytes) -> TiffForm:
    """Return the form of a TIFF or BigTIFF."""
    is_big = body[2:3] == b"\x2b"  # the same check as in Pillow
    return TiffForm(_BYTE_ORDERS[body[:2]], *(("Q", "Q", 8, 20) if is_big else ("L", "H", 4, 12)))


def jpeg_segments(body: bytes) -> list[tuple[int, int, int]]:
    """Return marker, start and end of the content of each segment before the first scan of a JPEG.

    The result has at least every segment that Pillow finds. Bytes between segments are skipped, as in Pillow; but where
    Pillow stops at an unknown marker, the search goes on.
    """
    segments = []
    position = 2
    for _ in range(MOST_STEPS):
        position = body.find(b"\xff", position)
        if position < 0 or position + 4 > len(body) or (marker := body[position + 1]) == _JPEG_SCAN:
            break
        if marker == 0xFF:  # padding
            position += 1
            continue
        position += 2
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        length = max(2, int.from_bytes(body[position : position + 2], "big"))
        segments.append((marker, position + 2, position + length))
        position += length
    return segments


def jpeg_exif_blocks(body: bytes) -> list[tuple[int, int]]:
    """Return start and end of the content, including `Exif`, of each EXIF segment before the first scan of a JPEG."""
    return [
        (start, end)
        for marker, start, end in jpeg_segments(body)
        if marker == _JPEG_APP1 and end - start >= 6 and body.startswith(b"Exif\0\0", start)
    ]


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in an EXIF block; 1 if the block is corrupt or has no orientation.

    Pillow is not used, because its reader raises errors of many types on corrupt blocks. It also copies the bytes of
    every tag, even if the tags overlap.

    Args:
        exif: a small TIFF: the segment's content without the `Exif` and the two zero bytes at its start.
    """
    order = _BYTE_ORDERS.get(exif[:2])
    if order is None:
        return _UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "L", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for index in range(entries):
            tag, kind = struct.unpack_from(order + "HH", exif, directory + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                code = INTEGER_CODES.get(kind, "")  # SHORT in the standard, LONG from some writers
                value = struct.unpack_from(order + code, exif, directory + 10 + 12 * index)[0] if code else _UPRIGHT
                return value if 1 <= value <= 8 else _UPRIGHT
    except struct.error:
        pass
    return _UPRIGHT
