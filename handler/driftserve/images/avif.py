"""Reads the header of an AVIF without Pillow, whose decoder limits neither sizes nor the number of parts.

Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items), https://aomediacodec.github.io/av1-avif/, and
https://aomediacodec.github.io/av1-spec/ (sections 5.3 to 5.9).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from driftserve.errors import UndecodableImage

_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_MOST_BOXES = 10_000  # in the file, and again in each box that has others
# The most items (pictures, tiles, metadata) and parts of items. An image of 65 megapixels in tiles of 256x256, with as
# many for its alpha, has 2,000.
_MOST_ITEMS = 4_000
_MOST_LINK_BYTES = 64 * 1024  # the most bytes of the boxes that link items to others, and to their properties
_MOST_UNITS = 1_000  # open bitstream units (OBU) of a coded picture
# The most frames of a coded picture: it has one, or up to four layers. A decoder decodes frames that it does not show.
_MOST_FRAMES = 8
_HIDDEN = b"free"  # the type of boxes and items that a decoder skips
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6  # types of OBU
_SELECT = 2  # for each frame, its header says whether it uses a tool
_HEADER_BYTES = 512  # a sequence header with 32 operating points has 400; of a frame header only the start is read

_Box = tuple[bytes, int, int]  # its type, and the start and end of its content


@dataclass(frozen=True)
class AvifHeader:
    """What decoding an AVIF costs.

    `sizes` are width and height of each image, grid and coded picture in the file. `coded_pixels` counts the pixels of
    all coded pictures: tiles, alpha, thumbnails. `body` is the file as Pillow may read it: only the still image (most
    animations have one, their first frame), without EXIF and XMP. A decoder must turn an AVIF by the properties of the
    image, not by its EXIF.
    """

    sizes: tuple[tuple[int, int], ...]
    coded_pixels: int
    body: bytes


def read_avif(body: bytes) -> AvifHeader | None:
    """Return what decoding an AVIF costs; None if the bytes are another format.

    Raises:
        UndecodableImage: the file is a HEIC, is incomplete, has too many parts, or has only an animation.
    """
    if body[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(body[:4], "big"), len(body))
    brands = [body[8:12], *(body[start : start + 4] for start in range(16, min(end, 4096), 4))]
    if not any(brand in _AVIF_BRANDS for brand in brands):
        if any(brand in _HEIC_BRANDS for brand in brands):
            raise UndecodableImage(
                "expected a JPEG, PNG, WebP or AVIF, got HEIC, which is not read; convert it to JPEG"
            )
        return None
    return _Reader(body).read(end)


class _Reader:
    """Reads one AVIF."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._hidden = bytearray(body)

    def read(self, brands_end: int) -> AvifHeader:
        self._hidden[8:brands_end] = self._hidden[8:brands_end].replace(b"avis", b"avif")
        self._hidden[8:12] = b"avif"
        boxes = self._boxes(0, len(self._body))
        for kind, start, _ in boxes:
            if kind == b"moov":
                self._hidden[start - 4 : start] = _HIDDEN
        _, start, end = self._only(boxes, b"meta")
        meta = self._boxes(start + 4, end)
        self._only(meta, b"pitm")
        _, start, end = self._only(meta, b"iprp")
        _, start, end = self._only(self._boxes(start, end), b"ipco")
        sizes = [
            (self._number(start + 4, 4), self._number(start + 8, 4))
            for kind, start, end in self._boxes(start, end)
            if kind == b"ispe"
        ]
        coded = []
        for kind, content in self._items(meta):
            if kind == b"av01":
                coded.append(_coded_size(content))
            elif kind == b"grid":
                side = 4 if content[1] & 1 else 2
                sizes.append((_big(content[4 : 4 + side]), _big(content[4 + side : 4 + 2 * side])))
        return AvifHeader((*sizes, *coded), sum(width * height for width, height in coded), bytes(self._hidden))

    def _number(self, start: int, length: int) -> int:
        return _big(self._body[start : start + length])

    def _boxes(self, start: int, end: int) -> list[_Box]:
        """Return the boxes between two positions."""
        boxes: list[_Box] = []
        while start + 8 <= end:
            size, kind, content = self._number(start, 4), self._body[start + 4 : start + 8], start + 8
            if size == 1:
                size, content = self._number(content, 8), content + 8
            elif size == 0:
                size = end - start
            if size < content - start or start + size > end:
                raise UndecodableImage("expected a complete AVIF, got a truncated or corrupt one")
            boxes.append((kind, content, start + size))
            start += size
            _check_number(len(boxes), _MOST_BOXES)
        return boxes

    def _only(self, boxes: list[_Box], kind: bytes) -> _Box:
        found = [box for box in boxes if box[0] == kind]
        if len(found) != 1:
            raise UndecodableImage(
                f"expected an AVIF with a still image, got {len(found)} boxes {kind.decode()!r}; save it again"
            )
        return found[0]

    def _items(self, meta: list[_Box]) -> Iterator[tuple[bytes, bytes]]:
        """Yield type and content of each picture and grid; hide EXIF and XMP."""
        for kind, start, end in meta:
            if kind == b"iref":
                _check_number(end - start, _MOST_LINK_BYTES)
            elif kind == b"iprp":
                for part, part_start, part_end in self._boxes(start, end):
                    if part == b"ipma":
                        _check_number(part_end - part_start, _MOST_LINK_BYTES)
        kinds = self._item_kinds(self._only(meta, b"iinf"))
        bytes_left = 2 * len(self._body)
        inside = [start for kind, start, _ in meta if kind == b"idat"]
        for item, extents in self._extents(self._only(meta, b"iloc"), inside):
            if kinds.get(item) not in (b"av01", b"grid"):
                continue
            bytes_left -= sum(length for _, length in extents)
            if not extents or bytes_left < 0 or any(start + length > len(self._body) for start, length in extents):
                raise UndecodableImage("expected a complete AVIF, got a truncated or corrupt one")
            yield kinds[item], b"".join(self._body[start : start + length] for start, length in extents)

    def _item_kinds(self, box: _Box) -> dict[int, bytes]:
        """Return the type of each item by its number."""
        _, start, end = box
        entries = self._boxes(start + (8 if self._body[start] else 6), end)
        _check_number(len(entries), _MOST_ITEMS)
        kinds = {}
        for _, entry, _ in entries:
            number_bytes = 4 if self._body[entry] == 3 else 2
            at = entry + 6 + number_bytes
            kinds[self._number(entry + 4, number_bytes)] = kind = self._body[at : at + 4]
            if kind in (b"Exif", b"mime"):
                self._hidden[at : at + 4] = _HIDDEN
        return kinds

    def _extents(self, box: _Box, inside: list[int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Yield the number of each item with start and length of its parts."""
        _, at, end = box
        version, sizes = self._body[at], self._number(at + 4, 2)
        offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        index = index if version else 0
        number_bytes = 4 if version == 2 else 2
        items = self._number(at + 6, number_bytes)
        at += 6 + number_bytes
        parts = 0
        for _ in range(items):
            item, at = self._number(at, number_bytes), at + number_bytes
            method = self._number(at, 2) & 15 if version else 0
            at += 4 if version else 2
            first, at = self._number(at, base), at + base
            number, at = self._number(at, 2), at + 2
            parts += 1 + number
            _check_number(parts, 2 * _MOST_ITEMS)
            if method == 1:
                first += inside[0] if inside else len(self._body)
            extents = []
            for _ in range(number):
                at += index
                extents.append((first + self._number(at, offset), self._number(at + offset, length)))
                at += offset + length
            if at > end or method > 1:
                raise UndecodableImage("expected a complete AVIF, got a truncated or corrupt one")
            yield item, extents


def _coded_size(content: bytes) -> tuple[int, int]:
    """Return the largest width and height that an AV1 picture declares.

    Raises:
        UndecodableImage: it has no size, too many frames, or frames of another size.
    """
    sequence: _Sequence | None = None
    width = height = frames = position = 0
    for _ in range(_MOST_UNITS):
        if position >= len(content):
            break
        unit = content[position]
        position += 2 if unit & 4 else 1
        length = len(content) - position
        if unit & 2:
            length, position = _leb128(content, position)
        kind = unit >> 3 & 15
        bits = _Bits(content[position : position + min(length, _HEADER_BYTES)])
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(bits)
            width, height = max(width, sequence.width), max(height, sequence.height)
        elif kind in (_FRAME_HEADER, _FRAME):
            frames += 1
            if sequence is None or frames > _MOST_FRAMES or _has_own_size(bits, sequence):
                raise UndecodableImage("expected one AV1 frame of one size in each picture, got others; save it again")
        position += length
    else:
        _check_number(_MOST_UNITS + 1, _MOST_UNITS)
    if sequence is None:
        raise UndecodableImage("expected a complete AVIF, got a picture without a size")
    return width, height


@dataclass(frozen=True)
class _Sequence:
    """The part of an AV1 sequence header that says how to read the size of a frame."""

    width: int
    height: int
    is_reduced: bool
    time_bits: int
    identifier_bits: int
    screen_tools: int
    integer_motion: int


def _sequence(bits: "_Bits") -> _Sequence:
    bits.read(4)
    is_reduced = bool(bits.read(1))
    time_bits = identifier_bits = 0
    if is_reduced:
        bits.read(5)
    else:
        time_bits = _read_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    screen_tools = integer_motion = _SELECT
    if not is_reduced:
        if bits.read(1):
            identifier_bits = bits.read(4) + 2
            identifier_bits += bits.read(3) + 1
        bits.read(3 + 4)
        if bits.read(1):
            bits.read(2)
        screen_tools = _SELECT if bits.read(1) else bits.read(1)
        integer_motion = _SELECT if not screen_tools or bits.read(1) else bits.read(1)
    return _Sequence(width, height, is_reduced, time_bits, identifier_bits, screen_tools, integer_motion)


def _read_operating_points(bits: "_Bits") -> int:
    """Read until the size of the frames; return how many bits each shown frame's time has."""
    delay_bits = time_bits = 0
    has_own_times = False
    if bits.read(1):
        bits.read(64)
        if has_equal_intervals := bits.read(1):
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros if zeros < 32 else 0)
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5)
            time_bits = bits.read(5) + 1
            has_own_times = not has_equal_intervals
    has_delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_delays and bits.read(1):
            bits.read(4)
    return time_bits if has_own_times else 0


def _has_own_size(bits: "_Bits", sequence: _Sequence) -> bool:
    """Return whether a frame has another size than its sequence, which may be larger."""
    if sequence.is_reduced or bits.read(1):  # the latter shows a frame that was decoded
        return False
    key, switch = 0, 3
    kind, is_shown = bits.read(2), bits.read(1)
    bits.read(sequence.time_bits if is_shown else 1)
    if not (kind == switch or (kind == key and is_shown)):
        bits.read(1)
    bits.read(1)
    has_screen_tools = bits.read(1) if sequence.screen_tools == _SELECT else sequence.screen_tools
    if has_screen_tools and sequence.integer_motion == _SELECT:
        bits.read(1)
    bits.read(sequence.identifier_bits)
    return kind == switch or bool(bits.read(1))


class _Bits:
    """Reads bits from the first, the most significant, to the last."""

    def __init__(self, content: bytes) -> None:
        self._value = _big(content)
        self._left = 8 * len(content)

    def read(self, number: int) -> int:
        self._left -= number
        if self._left < 0:
            raise UndecodableImage("expected a complete AVIF, got an AV1 header that ends too early")
        return self._value >> self._left & ((1 << number) - 1)


def _leb128(content: bytes, position: int) -> tuple[int, int]:
    """Return a number of up to eight bytes with seven bits each, and the position after it."""
    value = 0
    for index in range(8):
        byte = content[position]
        value |= (byte & 0x7F) << 7 * index
        position += 1
        if not byte & 0x80:
            break
    return value, position


def _big(content: bytes) -> int:
    return int.from_bytes(content, "big")


def _check_number(number: int, most: int) -> None:
    if number > most:
        raise UndecodableImage(f"expected at most {most} parts in an AVIF, got more; save the image again")
