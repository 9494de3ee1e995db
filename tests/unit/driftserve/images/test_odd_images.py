"""Unusual images decode to the expected RGB pixels; hostile and unsupported ones give a documented error."""

import contextlib
import io
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from driftserve.errors import BadRequest, ImageTooLarge, UndecodableImage
from driftserve.images.decode import ImageLimits, decode
from driftserve.images.header import jpeg_exif_blocks
from odd_images import (
    GREY,
    GREY16,
    HEIGHT,
    SCENE,
    TINY_GIF_FRAME,
    WIDTH,
    OddImage,
    av1_of,
    avif,
    bmp,
    box,
    chunk,
    exif_block,
    gif,
    jpeg_with,
    odd_images,
    png,
    saved,
    scene_as,
    tiff,
)
from sample_images import encode

ODD = odd_images()
FORMATS = {
    "PNG": png(SCENE, 8, 2),
    "JPEG": scene_as("JPEG"),
    "progressive JPEG": scene_as("JPEG", progressive=True),
    "GIF": gif(),
    "TIFF": ODD["TIFF RGB, big-endian"].body,
    "deflated TIFF": ODD["TIFF RGB deflated, little-endian"].body,
    "LZW TIFF": ODD["TIFF LZW"].body,
    "BMP": ODD["BMP of 24 bits"].body,
    "BMP in runs": ODD["BMP in runs"].body,
    "WebP": scene_as("WEBP"),
    "lossless WebP": scene_as("WEBP", lossless=True),
    "AVIF": scene_as("AVIF"),
}
HUGE, WIDE = (12_000, 9_000), (20_000, 100)
FLOATS = GREY.astype(np.float32)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_decodes_to_the_expected_pixels(name: str) -> None:
    odd = ODD[name]
    plain = decode(encode(np.ascontiguousarray(odd.pixels)))
    decoded = decode(odd.body)
    assert (decoded.dtype, decoded.shape) == (np.uint8, plain.shape)
    assert np.abs(decoded.astype(int) - plain).max() <= odd.tolerance


def test_there_are_many_kinds_and_most_are_compared_exactly() -> None:
    assert len(ODD) >= 40
    assert sum(odd.tolerance == 0 for odd in ODD.values()) >= 40


@pytest.mark.parametrize("kind", ODD)
def test_a_decode_can_be_repeated(kind: str) -> None:
    assert np.array_equal(decode(ODD[kind].body), decode(ODD[kind].body))


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(FLOATS), Image.fromarray(GREY.astype(np.int32))],
    ids=["floats", "32-bit integers"],
)
def test_pixels_without_a_defined_range_are_refused_with_the_reason(image: Image.Image) -> None:
    with pytest.raises(UndecodableImage, match="whose range is not defined"):
        decode(saved(image, "TIFF"))


@pytest.mark.parametrize(
    "body",
    {
        "nothing": b"",
        "a zero": b"\0",
        "zeros": b"\0" * 5000,
        "noise": np.random.default_rng(1).bytes(5000),
        "text": b"hello, I am an image",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "HTML": b"<!DOCTYPE html><html><body><img src='a.jpg'></body></html>",
        "PDF": saved(Image.fromarray(SCENE), "PDF"),
        "PPM": saved(Image.fromarray(SCENE), "PPM"),
        "ICO": saved(Image.fromarray(SCENE), "ICO"),
        "JPEG 2000": saved(Image.fromarray(SCENE), "JPEG2000"),
        "JSON": b'{"instances": []}',
        "film": box(b"ftyp", b"isom\0\0\0\0isommp42") + box(b"mdat", bytes(99)),
        "an AVIF's magic": box(b"ftyp", b"avif\0\0\0\0avifmif1"),
        "an AVIF of no width": avif((0, HEIGHT), [av1_of(SCENE)[0]], av1_of(SCENE)[1]),
        "a JPEG's magic": b"\xff\xd8\xff",
        "a PNG's magic": b"\x89PNG\r\n\x1a\n",
        "a PNG of no width": png(SCENE, 8, 2).replace(
            chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)),
            chunk(b"IHDR", struct.pack(">IIBBBBB", 0, HEIGHT, 8, 2, 0, 0, 0)),
        ),
        "a GIF of no size": gif(size=(0, 0)).replace(struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT), b"\0" * 8),
        "a BMP of no width": ODD["BMP of 24 bits"].body[:18] + b"\0" * 4 + ODD["BMP of 24 bits"].body[22:],
        "a TIFF of no height": tiff(SCENE[:0], 8, 2),
        "a PNG without pixels": png(SCENE, 8, 2)[:33] + chunk(b"IEND", b""),
        "a PNG with a wrong checksum": png(SCENE, 8, 2).replace(b"IHDR", b"IHDr", 1),
        "a PNG of 3 bits": png(GREY >> 5, 8, 0).replace(
            chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)),
            chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 3, 0, 0, 0, 0)),
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_file_that_is_no_image_is_refused_with_a_reason(body: tuple[str, bytes]) -> None:
    with pytest.raises(UndecodableImage, match="expected"):
        decode(body[1])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(name: str, share: float) -> None:
    body = FORMATS[name]
    with pytest.raises(UndecodableImage, match="expected"):
        decode(body[: int(len(body) * share)])


def _headers(width: int, height: int) -> dict[str, bytes]:
    """Return a header for an image of this size in each format, followed by almost no pixels."""
    lossless = (width - 1) | (height - 1) << 14
    return {
        "PNG": png(SCENE, 8, 2)[:8]
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0")),
        "JPEG": _resized_jpeg(width, height),
        "GIF": gif(size=(width, height)),
        "TIFF": tiff(np.broadcast_to(np.uint8(0), (1, 1)), 8, 1).replace(
            struct.pack("<HHLHHHHLHH", 256, 3, 1, 1, 0, 257, 3, 1, 1, 0),
            struct.pack("<HHLHHHHLHH", 256, 3, 1, width, 0, 257, 3, 1, height, 0),
        ),
        "BMP": ODD["BMP of 24 bits"].body[:18] + struct.pack("<ii", width, height) + ODD["BMP of 24 bits"].body[26:],
        "WebP VP8X": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little"),
        "WebP VP8L": b"RIFF\x16\0\0\0WEBPVP8L\x05\0\0\0\x2f" + struct.pack("<I", lossless & 0xFFFFFFFF) + bytes(5),
        "AVIF": avif((width, height), [_av1_header(WIDTH, HEIGHT)], av1_of(SCENE)[1]),
        "AVIF of a coded picture": avif((WIDTH, HEIGHT), [_av1_header(width, height)], av1_of(SCENE)[1]),
        "AVIF of a later coded picture": avif(
            (WIDTH, HEIGHT), [_av1_header(WIDTH, HEIGHT) + _av1_header(width, height)], av1_of(SCENE)[1]
        ),
        "AVIF of a grid": avif((WIDTH, HEIGHT), [_av1_header(64, 64)], av1_of(SCENE)[1], (1, 1), (64, 64)).replace(
            struct.pack(">BBBBHH", 0, 0, 0, 0, WIDTH, HEIGHT), struct.pack(">BBBBHH", 0, 0, 0, 0, width, height)
        ),
        "WebP VP8": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }


def _av1_header(width: int, height: int, is_still: bool = True, bits: str = "") -> bytes:
    """Return the header of an AV1 sequence of this size, without frames; `bits` follow it."""
    start = "000" + ("11" + "00000" if is_still else "00" + "0" + "0" + "00000" + "0" * 12 + "00000")
    digits = f"{start}{15:04b}{15:04b}{width - 1:016b}{height - 1:016b}{bits}"
    digits = digits.ljust(-(-len(digits) // 8) * 8, "0")
    content = int(digits, 2).to_bytes(len(digits) // 8, "big")
    return bytes([0x0A, len(content)]) + content


def _resized_jpeg(width: int, height: int) -> bytes:
    body = scene_as("JPEG")
    return body.replace(struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", height, width), 1)


@pytest.mark.parametrize("name", _headers(*HUGE))
def test_a_header_of_108_megapixels_is_refused_before_decoding(name: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageTooLarge, match="got 12000x9000"):
        decode(_headers(*HUGE)[name])
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("name", [name for name in _headers(*WIDE) if name not in ("WebP VP8L", "WebP VP8")])
def test_a_header_with_a_side_beyond_the_limit_is_refused_before_decoding(name: str) -> None:
    with pytest.raises(ImageTooLarge, match="got 20000x100"):
        decode(_headers(*WIDE)[name])


def test_a_panorama_and_the_images_of_a_64_megapixel_camera_are_within_the_limits() -> None:
    for width, height in ((16_000, 3_126), (8_160, 6_144), (9_248, 6_936)):
        with pytest.raises(UndecodableImage, match="truncated"):
            decode(_headers(width, height)["PNG"])


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0heix", b"msf1\0\0\0\0mif1hevc"])
def test_heic_is_refused_by_name(brands: bytes) -> None:
    with pytest.raises(UndecodableImage, match="got HEIC, which is not read; convert it to JPEG"):
        decode(box(b"ftyp", brands) + box(b"meta", bytes(99)))


def test_the_pictures_of_an_avif_are_limited_together() -> None:
    picture, described = av1_of(SCENE)
    limits = ImageLimits(pixels=WIDTH * HEIGHT)
    for number, is_accepted in ((3, True), (4, False)):
        pictures = [picture] * number
        body = avif((WIDTH, HEIGHT), pictures, described)
        if is_accepted:
            assert decode(body, limits).shape == SCENE.shape
        else:
            with pytest.raises(ImageTooLarge, match=f"expected at most {3 * WIDTH * HEIGHT} pixels in all pictures"):
                decode(body, limits)


# A shown key frame: it exists already (no), its type, whether it is shown, tables, whether it has a size of its own.
@pytest.mark.parametrize(
    "frame", ["0" + "00" + "1" + "0" + "1", "0" + "11" + "1" + "0" + "0"], ids=["own size", "switch frame"]
)
def test_a_frame_of_another_size_than_its_sequence_is_refused(frame: str) -> None:
    # No identifiers; tools for inter frames; no order; screen tools and whole motion vectors are off.
    header = _av1_header(WIDTH, HEIGHT, is_still=False, bits="0" + "000" + "0000" + "0" + "0" + "0")
    picture = header + bytes([0x32, 1, int(frame.ljust(8, "0"), 2)])
    with pytest.raises(UndecodableImage, match="expected one AV1 frame of one size"):
        decode(avif((WIDTH, HEIGHT), [picture], av1_of(SCENE)[1]))


def test_a_size_that_pillow_itself_refuses_is_too_large() -> None:
    with pytest.raises(ImageTooLarge, match="expected at most 65000000 pixels"):
        decode(_headers(60_000, 60_000)["PNG"])


def _polyglots() -> dict[str, OddImage]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "hello")
    page = b"<html><script>alert(1)</script></html>"
    return {
        "GIF and JavaScript": OddImage(gif() + b"*/=1;alert(1)", ODD["GIF plain"].pixels),
        "PNG and ZIP": OddImage(png(SCENE, 8, 2) + archive.getvalue(), SCENE),
        "JPEG and HTML": OddImage(jpeg_with(page, 0xFE) + page, SCENE, 4),
        "JPEG and film": OddImage(jpeg_with(b"") + b"\0\0\0\x18ftypmp42" + b"\xff\xda\x12\x34" * 5000, SCENE, 4),
    }


@pytest.mark.parametrize("name", _polyglots())
def test_an_image_that_is_also_another_file_type_is_decoded(name: str) -> None:
    polyglot = _polyglots()[name]
    assert np.abs(decode(polyglot.body).astype(int) - polyglot.pixels).max() <= polyglot.tolerance


@pytest.mark.parametrize(
    "body", [b"%PDF-1.7\n" + scene_as("JPEG"), b"PK\3\4" + png(SCENE, 8, 2)], ids=["PDF and JPEG", "ZIP and PNG"]
)
def test_another_file_type_that_contains_an_image_is_refused(body: bytes) -> None:
    with pytest.raises(UndecodableImage):
        decode(body)


@pytest.mark.parametrize("tag", [34665, 34853, 40965], ids=["EXIF", "GPS", "interoperability"])
def test_a_hostile_directory_inside_a_tiff_is_ignored(tag: int) -> None:
    started = time.process_time()
    assert np.array_equal(decode(_numbers_within(tag)), SCENE)
    assert time.process_time() - started < 1.0


def test_pillow_finds_no_exif_in_a_jpeg_that_we_do_not_find() -> None:
    block = b"Exif\0\0" + exif_block(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    generator = np.random.default_rng(0)
    odd = [b"\xff", b"\xff\x00", b"\xff\xd0", b"\xff\xc8", b"\xff\xf0\0\4ab", b"junk", b"\xff\xe1\0\0", b"\xff\xe1\0\1"]
    odd += [segment, b"\xff\xfe\0\5abc", b"\xff\xe1\0\7Exif\0", b"\xff\xd9", b"\xff\xd8"]
    found = 0
    for _ in range(2_000):
        between = b"".join(odd[index] for index in generator.integers(0, len(odd), generator.integers(1, 7)))
        body = bytearray(scene_as("JPEG")[:20] + between + scene_as("JPEG")[20:])
        blocks = jpeg_exif_blocks(bytes(body))
        for start, _ in blocks:
            body[start : start + 4] = b"----"
        found += len(blocks)
        try:
            image = Image.open(io.BytesIO(body), formats=["JPEG"])
        except UnidentifiedImageError:
            continue
        assert "exif" not in image.info
    assert found > 500


def _animated_png(frames: int) -> bytes:
    first = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    return png(SCENE, 8, 2, chunk(b"acTL", struct.pack(">II", frames, 0)) + chunk(b"fcTL", first))


def _chained_tiff(pages: int) -> bytes:
    """Return a TIFF with more directories, all empty, of six bytes each."""
    plain = tiff(SCENE, 8, 2)
    chain = b"".join(struct.pack("<HL", 0, len(plain) + 6 * page) for page in range(1, pages - 1)) + b"\0" * 6
    return tiff(SCENE, 8, 2, next_directory=len(plain)) + chain


@pytest.mark.parametrize(
    "make", [lambda frames: gif(frames=frames), _animated_png, _chained_tiff], ids=["GIF", "APNG", "TIFF"]
)
def test_a_thousand_frames_are_decoded_and_one_more_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    assert decode(make(1000)).shape == SCENE.shape
    with pytest.raises(ImageTooLarge, match="expected at most 1000 frames"):
        decode(make(1001))


def test_two_frames_of_an_animated_webp_and_an_mpo_are_counted() -> None:
    for name in ("WebP animated", "JPEG MPO"):
        with pytest.raises(ImageTooLarge, match="expected at most 1 frames"):
            decode(ODD[name].body, ImageLimits(frames=1))


def _overlapping_tags(size: int) -> bytes:
    """Return a TIFF directory of 65,535 tags; the value of each is the whole file."""
    number = min(65_535, size // 12 - 2)
    tags = b"".join(struct.pack("<HHLL", tag, 1, size, 0) for tag in range(number))
    return (b"II*\0" + struct.pack("<LH", 8, number) + tags).ljust(size, b"\0")


def _tiff_of(tags: dict[int, tuple[int, int, int]], tail: bytes = b"") -> bytes:
    """Return a grey 8x8 TIFF with additional tags, as (kind, count, value or offset); `tail` is at byte 512."""
    plain = {256: (3, 1, 8), 257: (3, 1, 8), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries = b"".join(struct.pack("<HHLL", tag, *rest) for tag, rest in sorted((plain | tags).items()))
    directory = struct.pack("<H", len(plain | tags)) + entries + b"\0" * 4
    return (b"II*\0" + struct.pack("<L", 8) + directory).ljust(512, b"\0") + tail


def _tile_bomb() -> bytes:
    """Return an 8x8 image stored in one tile of 16,384x16,384: 0.26 MB that unpack to 268 MB."""
    deflater = zlib.compressobj(9)
    tile = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(256)) + deflater.flush()
    tiles = {322: (4, 1, 16_384), 323: (4, 1, 16_384), 324: (4, 1, 512), 325: (4, 1, len(tile))}
    return _tiff_of(tiles, tile)


def _rationals(*tags: int) -> bytes:
    """Return tags that share 3,000,000 rationals."""
    return _tiff_of(dict.fromkeys(tags, (5, 3_000_000, 512)), struct.pack("<LL", 4294967291, 4294967279) * 3_000_000)


def _numbers_within(tag: int) -> bytes:
    """Return a valid TIFF with an EXIF or GPS directory of 200 tags that share 100,000 rationals."""
    plain = tiff(SCENE, 8, 2, extra={tag: (0,)})
    at = len(plain)
    entries = b"".join(struct.pack("<HHLL", 40_000 + number, 5, 100_000, at + 8192) for number in range(200))
    directory = (struct.pack("<H", 200) + entries + b"\0" * 4).ljust(8192, b"\0")
    return plain.replace(struct.pack("<HHLL", tag, 3, 1, 0), struct.pack("<HHLL", tag, 4, 1, at)) + (
        directory + struct.pack("<LL", 4294967291, 4294967279) * 100_000
    )


def _tall_runs() -> bytes:
    body = bmp([b"\1\1\0\0"] * 3000, 8, bytes(1024), 1)
    return body[:18] + struct.pack("<ii", 16_384, 3000) + body[26:]


def _avif_of_places(places: bytes) -> bytes:
    """Return an AVIF whose box `iloc` has this content."""
    plain = avif((WIDTH, HEIGHT), [_av1_header(WIDTH, HEIGHT)], av1_of(SCENE)[1])
    start, end = plain.index(b"meta") - 4, plain.index(b"mdat") - 4
    meta = plain[start:end]
    at = meta.index(b"iloc") - 4
    old = meta[at : at + int.from_bytes(meta[at : at + 4], "big")]
    meta = meta.replace(old, box(b"iloc", places, b"\0" * 4))[12:]
    return plain[:start] + box(b"meta", meta, b"\0" * 4) + plain[end:]


def _avif_of_picture(picture: bytes) -> bytes:
    return avif((WIDTH, HEIGHT), [picture], av1_of(SCENE)[1])


_BODY_BYTES = 24 * 1024 * 1024
_TEXT_BOMB = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * (1 << 20), 9))
_SCAN = bytes.fromhex("ffda0008010100013f00")
_ONE_EXIF = b"\xff\xe1" + struct.pack(">H", 9) + b"Exif\0\0a"
_HEAD = 13 + 768  # of gif()
HOSTILE = {
    "GIF of 1,900,000 frames": lambda: gif()[:-1] + TINY_GIF_FRAME * 1_900_000 + b"\x3b",
    "GIF with a comment in crumbs": lambda: gif()[:_HEAD] + b"\x21\xfe" + b"\1a" * (_BODY_BYTES // 2) + gif()[_HEAD:],
    "GIF with a long comment": lambda: gif()[:_HEAD] + b"\x21\xfe" + (b"\xff" * 256) * 98_000 + b"\0" + gif()[_HEAD:],
    "PNG in empty chunks": lambda: png(SCENE, 8, 2)[:33] + chunk(b"abCd", b"") * 2_000_000 + png(SCENE, 8, 2)[33:],
    "PNG of text bombs": lambda: png(SCENE, 8, 2)[:33] + _TEXT_BOMB * 20_000 + png(SCENE, 8, 2)[33:],
    "JPEG of junk": lambda: scene_as("JPEG")[:2] + b"a" * _BODY_BYTES + scene_as("JPEG")[2:],
    "JPEG of a million scans": lambda: scene_as("JPEG", progressive=True)[:-2] + _SCAN * 1_000_000,
    "JPEG of EXIF crumbs": lambda: scene_as("JPEG")[:2] + _ONE_EXIF * 2_000_000 + scene_as("JPEG")[2:],
    "TIFF of overlapping tags": lambda: _overlapping_tags(_BODY_BYTES),
    "TIFF of 4,000,000 pages": lambda: _chained_tiff(4_000_000),
    "TIFF of one large tile": _tile_bomb,
    "TIFF of a tile of unknown size": lambda: _tiff_of({322: (5, 1, 512), 323: (4, 1, 8)}, bytes(64)),
    "TIFF of rationals": lambda: _rationals(282),
    "TIFF of rationals used twice": lambda: _rationals(282, 283),
    "TIFF of 3,000,000 strips": lambda: _tiff_of(
        {273: (4, 3_000_000, 512), 279: (4, 3_000_000, 512)}, bytes(_BODY_BYTES // 2)
    ),
    "BMP of 49 megapixels in runs": _tall_runs,
    "AVIF of 3,000,000 boxes": lambda: scene_as("AVIF") + box(b"free", b"") * 3_000_000,
    "AVIF of 3,000,000 items": lambda: _avif_of_places(struct.pack(">HH", 0, 65_535) + bytes(_BODY_BYTES)),
    "AVIF of items in many places": lambda: _avif_of_places(struct.pack(">HHHHH", 0, 1, 1, 0, 65_535)),
    "AVIF of a picture in crumbs": lambda: _avif_of_picture(b"\x7a\0" * (_BODY_BYTES // 2)),
    "AVIF of many frames": lambda: _avif_of_picture(_av1_header(WIDTH, HEIGHT) + b"\x1a\0" * 500),
    "AVIF of many properties": lambda: avif(
        (WIDTH, HEIGHT), [_av1_header(WIDTH, HEIGHT)], av1_of(SCENE)[1] + box(b"free", b"") * 3_000_000
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_of_25_megabytes_is_refused_within_a_second(name: str) -> None:
    body = HOSTILE[name]()
    assert len(body) <= 25 * 1024 * 1024
    started = time.process_time()
    with pytest.raises(BadRequest, match="expected"):
        decode(body)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda exif: png(SCENE, 8, 2, chunk(b"eXIf", exif)),
        lambda exif: scene_as("WEBP", lossless=True, exif=b"Exif\0\0" + exif),
        lambda exif: jpeg_with(b"Exif\0\0" + exif[:65_000]),
        lambda exif: avif((WIDTH, HEIGHT), [av1_of(SCENE)[0]], av1_of(SCENE)[1], exif=exif),
    ],
    ids=["PNG", "WebP", "JPEG", "AVIF"],
)
def test_a_hostile_exif_block_is_ignored(make) -> None:  # type: ignore[no-untyped-def]
    started = time.process_time()
    assert np.abs(decode(make(_overlapping_tags(1 << 20))).astype(int) - SCENE).max() <= 4
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("place", range(len(exif_block(6))))
def test_no_changed_byte_in_an_exif_block_refuses_the_image(place: int) -> None:
    for value in (0, 1, 7, 0x7F, 0xFF):
        exif = bytearray(exif_block(6))
        exif[place] = value
        assert set(decode(jpeg_with(b"Exif\0\0" + bytes(exif))).shape[:2]) == {HEIGHT, WIDTH}


def test_an_exif_block_that_pillow_cannot_open_is_ignored() -> None:
    tags = struct.pack("<HHLLHHLL", 0x011A, 2, 1, 0, 0x0128, 3, 1, 2)  # the resolution is an empty string
    body = jpeg_with(b"Exif\0\0II" + struct.pack("<HLH", 42, 8, 2) + tags + b"\0" * 4)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(body))
    assert np.abs(decode(body).astype(int) - SCENE).max() <= 4


@pytest.mark.parametrize(
    "body",
    [scene_as("JPEG", progressive=True)[:-2] + _SCAN * 150, png(SCENE, 8, 2)[:-12] + _TEXT_BOMB * 150],
    ids=["scans of a JPEG", "texts of a PNG"],
)
def test_the_number_of_expensive_parts_is_limited(body: bytes) -> None:
    with pytest.raises(UndecodableImage, match="expected at most 100 scans"):
        decode(body)


# The pixels of a truncated image must not be decoded twice: the second time is for metadata.
def test_an_image_with_corrupt_pixels_is_decoded_only_once() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)
    sound = png(pixels, 8, 2, chunk(b"tEXt", b"k\0v"))
    cut = sound[: -len(sound) // 50]
    times: dict[bytes, list[float]] = {sound: [], cut: []}
    for body in (sound, cut) * 5:
        started = time.thread_time()
        with contextlib.suppress(UndecodableImage):
            decode(body)
        times[body].append(time.thread_time() - started)
    assert min(times[cut]) < 1.5 * min(times[sound])


def test_pillow_prints_nothing_and_does_not_warn(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for body in [*(odd.body for odd in ODD.values()), tiff(GREY16, 16, 1)[:-8]]:
            try:
                decode(body)
            except BadRequest:
                continue
    assert caught == []
    assert capfd.readouterr() == ("", "")


def test_an_image_that_does_not_fit_into_memory_is_too_large() -> None:
    program = (
        "import io, resource; from PIL import Image; from driftserve.images.decode import decode\n"
        "from driftserve.errors import ImageTooLarge\n"
        "buffer = io.BytesIO(); Image.new('L', (7000, 7000)).save(buffer, 'PNG')\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)\n"
        "try: decode(buffer.getvalue())\n"
        "except ImageTooLarge as error: print('too large')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("too large\n", "")
