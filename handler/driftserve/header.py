"""What an image file's first bytes and block lengths say, read without Pillow, which would work for it or trust it."""

import struct

_PLAIN = 1
_GIF_HEADER_BYTES = 13
_ORIENTATION_TAG = 0x0112
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}


def webp_size(body: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP; None for other bytes.

    Pillow makes libwebp's buffers, of eight bytes a pixel, before it can be asked.
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
    """Frames of a GIF, counted up to limit + 1; those before the place where it breaks off.

    Pillow's `n_frames` parses every frame, and `seek` decodes them.
    Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    frames = 0
    try:
        position = _GIF_HEADER_BYTES + _gif_palette_bytes(body[10])
        while frames <= limit:
            if body[position] == 0x2C:  # an image: descriptor, palette, one byte of code size
                frames += 1
                position += 11 + _gif_palette_bytes(body[position + 9])
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


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def count_tiff_frames(body: bytes, limit: int) -> int:
    """Pages of a TIFF or BigTIFF, counted up to limit + 1; a chain that comes back to itself ends there.

    Pillow's `n_frames` and `seek` load every tag of every page.
    Source: TIFF 6.0, section 2; https://www.awaresystems.be/imaging/tiff/bigtiff.html
    """
    order = _BYTE_ORDERS[body[:2]]
    is_big = body[2] == 43  # as Pillow tells them apart
    offset, number, start, entry_bytes = ("Q", "Q", 8, 20) if is_big else ("L", "H", 4, 12)
    seen: set[int] = set()
    try:
        (position,) = struct.unpack_from(order + offset, body, start)
        while position and position not in seen and len(seen) <= limit:
            seen.add(position)
            (entries,) = struct.unpack_from(order + number, body, position)
            position += struct.calcsize("<" + number) + entry_bytes * entries
            (position,) = struct.unpack_from(order + offset, body, position)
    except (struct.error, OverflowError):
        pass
    return len(seen)


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block (a small TIFF) gives; 1 where it is corrupt or gives none.

    Pillow's own reader raises a dozen kinds on corrupt blocks, and holds each tag's bytes, however often
    they overlap.
    """
    order = _BYTE_ORDERS.get(exif[:2])
    if order is None:
        return _PLAIN
    try:
        (directory,) = struct.unpack_from(order + "L", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for index in range(entries):
            tag, kind, _, short = struct.unpack_from(order + "HHLH", exif, directory + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return short if kind == 3 and 1 <= short <= 8 else _PLAIN
    except struct.error:
        pass
    return _PLAIN
