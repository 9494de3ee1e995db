"""Unusual but valid images, generated in code, each with the RGB pixels that it must decode to.

Files that Pillow cannot write are built byte by byte from the format's specification, so that the expected pixels
do not depend on Pillow.
"""

import base64
import io
import itertools
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 24, 37  # odd and not square: reveals a wrong stride, interlace or rotation
_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH]
SCENE: Pixels = np.stack([_X * 6, _Y * 10, 255 - _X * 3 - _Y * 3], axis=2).astype(np.uint8)
GREY: Pixels = (_X * 5 + _Y * 3).astype(np.uint8)
BITS: Pixels = ((_X // 3 + _Y // 2) % 2).astype(np.uint8)
GREY16 = (GREY.astype(np.uint16) << 8) + (_X * 7 % 256).astype(np.uint16)  # the lower byte differs from the upper
SCENE16 = (SCENE.astype(np.uint16) << 8) + (_X * 11 % 256).astype(np.uint16)[:, :, None]
ALPHA: Pixels = (_X * 255 // WIDTH).astype(np.uint8)
COLOURS: Pixels = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
INDEXES: Pixels = ((_X * 7 + _Y) % 256).astype(np.uint8)

# JPEG at quality 100 without subsampling rounds YCbCr and DCT coefficients: an error of at most 3 of 255 on these
# gradients, at most 6 with subsampled chroma, at most 7 in lossy WebP. Inverted or swapped channels differ by hundreds.
EXACT, NEAR, SOFT = 0, 4, 10


@dataclass(frozen=True)
class OddImage:
    """A file, its expected pixels, (H, W, 3) uint8, and the largest difference that a lossy format may have."""

    body: bytes
    pixels: Pixels
    tolerance: int = EXACT


def as_rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene_as(kind: str, **options: object) -> bytes:
    return saved(Image.fromarray(SCENE), kind, **options)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(
    samples: npt.NDArray[np.generic],
    bits: int,
    colour_type: int,
    chunks: bytes = b"",
    interlaced: bool = False,
    idat_bytes: int = 1 << 20,
) -> bytes:
    """Return a PNG of samples, (H, W) or (H, W, C), by https://www.w3.org/TR/png-3/; `chunks` precede the pixels."""
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b"".join(
        b"\0" + row for x, y, step_x, step_y in passes for row in packed_rows(samples[y::step_y, x::step_x], bits)
    )
    height, width = samples.shape[:2]
    deflated = zlib.compress(raw)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))),
            chunks,
            *(chunk(b"IDAT", deflated[i : i + idat_bytes]) for i in range(0, len(deflated), idat_bytes)),
            chunk(b"IEND", b""),
        ]
    )


def packed_rows(samples: npt.NDArray[np.generic], bits: int, order: str = ">") -> list[bytes]:
    """Pack the samples of each row into bytes, `bits` per sample."""
    if bits == 16:
        return [row.astype(order + "u2").tobytes() for row in samples]
    if bits == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    digits = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in digits]


def tiff(
    samples: npt.NDArray[np.generic],
    bits: int,
    photometric: int,
    order: str = "<",
    extra: dict[int, tuple[int, ...]] | None = None,
    is_deflated: bool = False,
    is_big: bool = False,
    next_directory: int = 0,
) -> bytes:
    """Return a TIFF or BigTIFF with one strip (TIFF 6.0) of samples, (H, W) or (H, W, C); `extra` tags are SHORTs."""
    strip = b"".join(packed_rows(samples, bits, order))
    strip = zlib.compress(strip) if is_deflated else strip
    header = 16 if is_big else 8
    height, width, *channels = samples.shape
    number = channels[0] if channels else 1
    tags = {256: (width,), 257: (height,), 258: (bits,) * number, 259: (8 if is_deflated else 1,), 262: (photometric,)}
    tags |= {273: (header,), 277: (number,), 278: (height,), 279: (len(strip),)} | (extra or {})
    offset, count, inline = ("Q", "Q", 8) if is_big else ("L", "H", 4)
    entries, outside = b"", b""
    outside_at = header + len(strip) + struct.calcsize("<" + count + offset) + len(tags) * (20 if is_big else 12)
    for tag, values in sorted(tags.items()):
        kind, code = (4, "L") if tag in (273, 279) else (3, "H")
        value = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(value) > inline:
            value, outside = struct.pack(order + offset, outside_at + len(outside)), outside + value
        entries += struct.pack(f"{order}HH{offset}", tag, kind, len(values)) + value.ljust(inline, b"\0")
    directory = struct.pack(order + count, len(tags)) + entries + struct.pack(order + offset, next_directory)
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + "HHHQ", 43, 8, 0, header + len(strip)) if is_big else b""
    return mark + (start or struct.pack(order + "HL", 42, header + len(strip))) + strip + directory + outside


def bmp(
    rows: list[bytes], bits: int, palette: bytes = b"", compression: int = 0, masks: bytes = b"", top_down: bool = False
) -> bytes:
    """Return a BMP with a BITMAPINFOHEADER of rows from the top; pad each to four bytes unless compressed."""
    padded = rows if compression in (1, 2) else [row + b"\0" * (-len(row) % 4) for row in rows]
    pixels = b"".join(padded if top_down else padded[::-1])
    start = 14 + 40 + len(masks) + len(palette)
    height = -HEIGHT if top_down else HEIGHT
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + masks + palette + pixels


def gif(
    frames: int = 1, comment: bytes = b"", is_transparent: bool = False, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> bytes:
    """Return a GIF of INDEXES in COLOURS. Its LZW table is cleared before codes exceed 9 bits; later frames are 1x1."""
    codes: list[int] = []
    for index, value in enumerate(INDEXES.ravel().tolist()):
        codes += ([256] if index % 250 == 0 else []) + [value]
    bits = np.array([*codes, 257])[:, None] >> np.arange(9) & 1
    stream = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
    blocks = b"".join(bytes([len(part)]) + part for part in (stream[i : i + 255] for i in range(0, len(stream), 255)))
    body = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, 0, 0) + COLOURS.tobytes()
    if comment:
        body += b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0"
    if is_transparent:
        body += b"\x21\xf9\x04\x01\x00\x00\x05\x00"
    body += b"\x2c" + struct.pack("<HHHHB", 0, 0, WIDTH, HEIGHT, 0) + b"\x08" + blocks + b"\0"
    return body + TINY_GIF_FRAME * (frames - 1) + b"\x3b"


TINY_GIF_FRAME = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x00"  # without pixels: 12 bytes


def exif_block(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """Return a minimal EXIF block: a TIFF header and one tag, a SHORT (3) or a LONG (4)."""
    mark = b"II" if order == "<" else b"MM"
    value = struct.pack(order + ("L" if kind == 4 else "HH"), *((orientation,) if kind == 4 else (orientation, 0)))
    return mark + struct.pack(order + "HLHHHL", 42, 8, 1, 0x0112, kind, 1) + value + bytes(4)


def jpeg_with(segment: bytes, marker: int = 0xE1) -> bytes:
    """Return the scene as JPEG with an extra segment right after its start."""
    plain = scene_as("JPEG", quality=100, subsampling=0)
    return plain[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


# How a viewer turns the stored pixels for each EXIF orientation (EXIF 2.32, table 6), in numpy instead of Pillow.
TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def ycck_jpeg() -> bytes:
    """Return the scene as a YCCK JPEG: planes saved as CMYK, with the transform of the Adobe segment set to 2."""
    # Adobe stores CMYK inverted, so the stored C, M, Y equal R, G, B. YCCK is the YCbCr of 255 minus these.
    planes = Image.fromarray(255 - SCENE).convert("YCbCr").split()
    stored = Image.merge("CMYK", [*planes, Image.new("L", (WIDTH, HEIGHT), 255)])
    body = saved(Image.fromarray(255 - np.asarray(stored), "CMYK"), "JPEG", quality=100, subsampling=0)
    transform = body.index(b"Adobe") + 11
    return body[:transform] + b"\x02" + body[transform + 1 :]


def odd_images() -> dict[str, OddImage]:
    """Return every kind of image by name."""
    return _pngs() | _jpegs() | _gifs() | _tiffs() | _bmps() | _webps() | _avifs() | with_bad_metadata()


def _pngs() -> dict[str, OddImage]:
    indexed = COLOURS[INDEXES]
    palette = chunk(b"PLTE", COLOURS.tobytes())
    kinds = {
        "RGB": (png(SCENE, 8, 2), SCENE),
        "RGB interlaced": (png(SCENE, 8, 2, interlaced=True), SCENE),
        "RGB in IDAT chunks of 7 bytes": (png(SCENE, 8, 2, idat_bytes=7), SCENE),
        "RGB of 16 bits": (png(SCENE16, 16, 2), SCENE),
        "RGB of 16 bits, interlaced": (png(SCENE16, 16, 2, interlaced=True), SCENE),
        "RGB with a transparent colour": (png(SCENE, 8, 2, chunk(b"tRNS", struct.pack(">3H", *SCENE[3, 3]))), SCENE),
        "RGBA": (png(np.dstack([SCENE, ALPHA]), 8, 6), SCENE),
        "RGBA of 16 bits": (png(np.dstack([SCENE16, SCENE16[:, :, 0]]), 16, 6), SCENE),
        "grey": (png(GREY, 8, 0), as_rgb(GREY)),
        "grey of 1 bit": (png(BITS, 1, 0), as_rgb(BITS * 255)),
        "grey of 1 bit, interlaced": (png(BITS, 1, 0, interlaced=True), as_rgb(BITS * 255)),
        "grey of 2 bits": (png(GREY >> 6, 2, 0), as_rgb((GREY >> 6) * 85)),
        "grey of 4 bits": (png(GREY >> 4, 4, 0), as_rgb((GREY >> 4) * 17)),
        "grey of 16 bits": (png(GREY16, 16, 0), as_rgb(GREY)),
        "grey with a transparent level": (png(GREY, 8, 0, chunk(b"tRNS", b"\0\x20")), as_rgb(GREY)),
        "grey and alpha": (png(np.dstack([GREY, ALPHA]), 8, 4), as_rgb(GREY)),
        "grey and alpha of 16 bits": (png(np.dstack([GREY16, GREY16]), 16, 4), as_rgb(GREY)),
        "palette": (png(INDEXES, 8, 3, palette), indexed),
        "palette of 1 bit": (png(BITS, 1, 3, chunk(b"PLTE", COLOURS[:2].tobytes())), COLOURS[BITS]),
        "palette of 2 bits": (png(INDEXES % 4, 2, 3, chunk(b"PLTE", COLOURS[:4].tobytes())), COLOURS[INDEXES % 4]),
        "palette of 4 bits": (png(INDEXES % 16, 4, 3, chunk(b"PLTE", COLOURS[:16].tobytes())), COLOURS[INDEXES % 16]),
        "palette with a transparent entry": (png(INDEXES, 8, 3, palette + chunk(b"tRNS", b"\xff\0")), indexed),
        "palette with alpha": (png(INDEXES, 8, 3, palette + chunk(b"tRNS", bytes(range(256)))), indexed),
        "with gamma and chromaticity": (
            png(
                SCENE, 8, 2, chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"cHRM", struct.pack(">8I", *[31270] * 8))
            ),
            SCENE,
        ),
        "animated": (
            scene_as("PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))] * 3, default_image=False),
            SCENE,
        ),
        "turned by EXIF": (png(SCENE, 8, 2, chunk(b"eXIf", exif_block(6, ">"))), TURNED[6](SCENE)),
        "with a corrupt EXIF": (png(SCENE, 8, 2, chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")), SCENE),
        "of one pixel": (png(SCENE[:1, :1], 8, 2), SCENE[:1, :1]),
    }
    return {f"PNG {name}": OddImage(*kind) for name, kind in kinds.items()}


def _jpegs() -> dict[str, OddImage]:
    image = Image.fromarray(SCENE)
    best: dict[str, object] = {"quality": 100, "subsampling": 0}
    plain = scene_as("JPEG", **best)  # its first segment ends at byte 20
    turned_jpeg = jpeg_with(b"Exif\0\0" + exif_block(6))
    inverted = np.dstack([255 - SCENE, np.zeros_like(GREY)])  # as ink: CMY = 255 - RGB, no black
    kinds = {
        "baseline": (scene_as("JPEG", **best), SCENE),
        "progressive": (scene_as("JPEG", progressive=True, **best), SCENE),
        "with optimised tables": (scene_as("JPEG", optimize=True, **best), SCENE),
        "with restart markers": (scene_as("JPEG", restart_marker_blocks=2, **best), SCENE),
        "stored as RGB": (scene_as("JPEG", keep_rgb=True, quality=100), SCENE),
        "grey": (saved(Image.fromarray(GREY), "JPEG", quality=100), as_rgb(GREY)),
        "CMYK": (saved(Image.fromarray(inverted, "CMYK"), "JPEG", **best), SCENE),
        "YCCK": (ycck_jpeg(), SCENE),
        "MPO": (scene_as("MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))], **best), SCENE),
        "with a colour profile": (jpeg_with(b"ICC_PROFILE\0\1\1" + b"\0" * 200, 0xE2), SCENE),
        "with a comment": (jpeg_with(b"hello", 0xFE), SCENE),
        "with bytes after its end": (scene_as("JPEG", **best) + b"\0" * 99, SCENE),
        "with a corrupt EXIF": (jpeg_with(b"Exif\0\0II*\0\xff\xff\xff\xff"), SCENE),
        "with an invalid EXIF": (jpeg_with(b"Exif\0\0" + b"\x07" * 40), SCENE),
        "with an EXIF cut short": (jpeg_with(b"Exif\0\0" + exif_block(6)[:12]), SCENE),
        "with an EXIF of orientation 9": (jpeg_with(b"Exif\0\0" + exif_block(9)), SCENE),
        "with an EXIF in big-endian": (jpeg_with(b"Exif\0\0" + exif_block(8, ">")), TURNED[8](SCENE)),
        "with an empty EXIF": (jpeg_with(b"Exif\0\0"), SCENE),
        "with an orientation as LONG": (jpeg_with(b"Exif\0\0" + exif_block(6, kind=4)), TURNED[6](SCENE)),
        "with an orientation as LONG in big-endian": (jpeg_with(b"Exif\0\0" + exif_block(8, ">", 4)), TURNED[8](SCENE)),
        "with another picture's EXIF after its end": (scene_as("JPEG", **best) + turned_jpeg, SCENE),
        "with EXIF bytes in a comment": (jpeg_with(turned_jpeg[2:40], 0xFE), SCENE),
        "with a comment that is an EXIF block": (jpeg_with(b"Exif\0\0" + exif_block(6), 0xFE), SCENE),
        "with EXIF bytes in a Photoshop segment": (jpeg_with(b"Photoshop 3.0\0" + turned_jpeg[2:40], 0xED), SCENE),
        "with bytes between its segments": (
            plain[:20] + b"junk" + turned_jpeg[2 : -len(plain) + 2] + plain[20:],
            TURNED[6](SCENE),
        ),
        "with padding before its EXIF": (turned_jpeg[:2] + b"\xff" * 5 + turned_jpeg[2:], TURNED[6](SCENE)),
        **{
            f"turned by EXIF {orientation}": (jpeg_with(b"Exif\0\0" + exif_block(orientation)), turned(SCENE))
            for orientation, turned in TURNED.items()
        },
    }
    odd = {f"JPEG {name}": OddImage(*kind, NEAR) for name, kind in kinds.items()}
    odd["JPEG with half the chroma"] = OddImage(saved(image, "JPEG", quality=100, subsampling=1), SCENE, SOFT)
    odd["JPEG with a quarter of the chroma"] = OddImage(saved(image, "JPEG", quality=100, subsampling=2), SCENE, SOFT)
    return odd


def _gifs() -> dict[str, OddImage]:
    indexed = COLOURS[INDEXES]
    later = [Image.fromarray(255 - SCENE)] * 4
    few = Image.fromarray(INDEXES % 16, "P")
    few.putpalette(COLOURS[:16].tobytes())
    kinds = {
        "plain": (gif(), indexed),
        "87a": (gif().replace(b"GIF89a", b"GIF87a"), indexed),
        "with a comment": (gif(comment=b"hello"), indexed),
        "with a transparent colour": (gif(is_transparent=True), indexed),
        "of 1000 frames": (gif(frames=1000), indexed),
        "interlaced": (saved(few, "GIF", interlace=1), COLOURS[INDEXES % 16]),
        "animated": (saved(few, "GIF", save_all=True, append_images=later), COLOURS[INDEXES % 16]),
        "without an end": (gif()[:-1], indexed),
        "grey": (saved(Image.fromarray(GREY), "GIF"), as_rgb(GREY)),
    }
    return {f"GIF {name}": OddImage(*kind) for name, kind in kinds.items()}


def _tiffs() -> dict[str, OddImage]:
    ink = np.dstack([255 - SCENE, np.zeros_like(GREY)])
    wide = COLOURS.T.astype(np.uint16).ravel() * 257
    image = Image.fromarray(SCENE)
    kinds: dict[str, tuple[bytes, Pixels]] = {}
    for order, name in (("<", "little-endian"), (">", "big-endian")):
        kinds |= {
            f"RGB, {name}": (tiff(SCENE, 8, 2, order), SCENE),
            f"RGB deflated, {name}": (tiff(SCENE, 8, 2, order, is_deflated=True), SCENE),
            f"RGB of 16 bits, {name}": (tiff(SCENE16, 16, 2, order), SCENE),
            f"RGBA, {name}": (tiff(np.dstack([SCENE, ALPHA]), 8, 2, order, {338: (2,)}), SCENE),
            f"grey of 16 bits, {name}": (tiff(GREY16, 16, 1, order), as_rgb(GREY)),
            f"grey of 16 bits deflated, {name}": (tiff(GREY16, 16, 1, order, is_deflated=True), as_rgb(GREY)),
            f"grey with white as zero, {name}": (tiff(255 - GREY, 8, 0, order), as_rgb(GREY)),
            f"CMYK, {name}": (tiff(ink, 8, 5, order), SCENE),
            f"palette, {name}": (tiff(INDEXES, 8, 3, order, {320: tuple(wide.tolist())}), COLOURS[INDEXES]),
            f"bilevel, {name}": (tiff(BITS, 1, 1, order), as_rgb(BITS * 255)),
        }
    kinds |= {
        "grey of 12 bits": (tiff(GREY16 >> 4, 12, 1), as_rgb(GREY)),
        "grey of 16 bits with white as zero": (tiff(65535 - GREY16, 16, 0), as_rgb(GREY)),
        "grey of 4 bits": (tiff(GREY >> 4, 4, 1), as_rgb((GREY >> 4) * 17)),
        "grey and alpha": (tiff(np.dstack([GREY, ALPHA]), 8, 1, extra={338: (2,)}), as_rgb(GREY)),
        "BigTIFF": (tiff(SCENE, 8, 2, is_big=True), SCENE),
        "with a loop of directories": (_looping_tiff(), SCENE),
        "LZW": (saved(image, "TIFF", compression="tiff_lzw"), SCENE),
        "PackBits": (saved(image, "TIFF", compression="packbits"), SCENE),
        "Group 4": (saved(Image.fromarray(BITS * 255).convert("1"), "TIFF", compression="group4"), as_rgb(BITS * 255)),
        "of three pages": (saved(image, "TIFF", save_all=True, append_images=[Image.new("L", (5, 5))] * 2), SCENE),
        **{
            f"turned by its tag {orientation}": (tiff(SCENE, 8, 2, extra={274: (orientation,)}), turned(SCENE))
            for orientation, turned in TURNED.items()
        },
        "deflated and turned": (tiff(SCENE, 8, 2, extra={274: (6,)}, is_deflated=True), TURNED[6](SCENE)),
    }
    odd = {f"TIFF {name}": OddImage(*kind) for name, kind in kinds.items()}
    odd["TIFF JPEG"] = OddImage(saved(image, "TIFF", compression="jpeg", quality=100), SCENE, SOFT)
    return odd


def _looping_tiff() -> bytes:
    plain = tiff(SCENE, 8, 2)
    (directory,) = struct.unpack_from("<L", plain, 4)
    return tiff(SCENE, 8, 2, next_directory=directory)


def _bmps() -> dict[str, OddImage]:
    palette = np.dstack([COLOURS[:, ::-1][None], np.zeros((1, 256, 1), np.uint8)]).tobytes()
    reversed_rows = [row.tobytes() for row in SCENE[:, :, ::-1]]
    red, green, blue = (SCENE[:, :, channel].astype(np.uint16) >> 3 for channel in range(3))
    five = [row.astype("<u2").tobytes() for row in red << 10 | green << 5 | blue]
    six = [row.astype("<u2").tobytes() for row in red << 11 | (SCENE[:, :, 1].astype(np.uint16) >> 2) << 5 | blue]
    with_fourth = [row.tobytes() for row in np.dstack([SCENE[:, :, ::-1], ALPHA])]
    runs = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in INDEXES.tolist()]
    core = b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, WIDTH, HEIGHT, 1, 24)
    kinds = {
        "of 24 bits": (bmp(reversed_rows, 24), SCENE),
        "from the top": (bmp(reversed_rows, 24, top_down=True), SCENE),
        "of 32 bits": (bmp(with_fourth, 32), SCENE),
        "of 32 bits with masks": (bmp(with_fourth, 32, b"", 3, struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)), SCENE),
        "of 8 bits": (bmp([row.tobytes() for row in INDEXES], 8, palette), COLOURS[INDEXES]),
        "of 4 bits": (bmp(packed_rows(INDEXES % 16, 4), 4, palette[:64]), COLOURS[INDEXES % 16]),
        "of 1 bit": (bmp(packed_rows(BITS, 1), 1, palette[:8]), COLOURS[BITS]),
        "in runs": (bmp(runs, 8, palette, 1), COLOURS[INDEXES]),
        "of OS/2": (core + b"".join(row + b"\0" * (-len(row) % 4) for row in reversed_rows[::-1]), SCENE),
    }
    odd = {f"BMP {name}": OddImage(*kind) for name, kind in kinds.items()}
    # Five or six bits per channel: the error is at most 7.
    odd["BMP of 15 bits"] = OddImage(bmp(five, 16), SCENE, 8)
    odd["BMP of 16 bits with masks"] = OddImage(bmp(six, 16, b"", 3, struct.pack("<3I", 0xF800, 0x7E0, 0x1F)), SCENE, 8)
    return odd


def _webps() -> dict[str, OddImage]:
    later = [Image.fromarray(255 - SCENE)] * 2
    with_alpha = Image.fromarray(np.dstack([SCENE, ALPHA]))
    exif = b"Exif\0\0" + exif_block(3)
    return {
        "WebP lossless": OddImage(scene_as("WEBP", lossless=True), SCENE),
        "WebP lossy": OddImage(scene_as("WEBP", quality=100), SCENE, SOFT),
        "WebP with alpha": OddImage(saved(with_alpha, "WEBP", lossless=True, exact=True), SCENE),
        "WebP animated": OddImage(scene_as("WEBP", lossless=True, save_all=True, append_images=later), SCENE),
        "WebP turned by EXIF": OddImage(scene_as("WEBP", lossless=True, exif=exif), TURNED[3](SCENE)),
    }


# The scene with 10 bits a channel, written by libavif 1.3, since Pillow writes only 8.
_TEN_BITS = base64.b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcG"
    "l0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAApgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABq"
    "aXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAJQAAABgAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAGgAAAAB"
    "dpcG1hAAAAAAAAAAEAAQQBAoMEAAAArm1kYXQSAAoJOBUku3gQEDSAMpYBEQIjUoAA8gAAEOkOGmGalVokZbGpA+NS3/X6FbFyTyDly2ZOG+By"
    "dv9EACoacgwnnhaJxtdfZQhlf08YE8lIJ5yQWzukL3lGsoJHog1FIdVmTxCZXfF00ajkPYvZ74ZMxBXXbETpjTmOm4pvezdb/erdCBaILtsnG9"
    "vRlEqH9SkgGaNufEeRo6TRLhDpqJQSknLHNaU4"
)


def box(kind: bytes, content: bytes, version: bytes = b"") -> bytes:
    """Return an ISO box; `version` holds version and flags, of boxes that have them."""
    return struct.pack(">L", 8 + len(version + content)) + kind + version + content


def av1_of(pixels: Pixels) -> tuple[bytes, bytes]:
    """Return pixels as an AV1 picture, and the properties that describe it: `av1C`, `colr` and `pixi`."""
    body = saved(Image.fromarray(pixels), "AVIF", quality=100, subsampling="4:4:4")
    properties = b""
    for kind in (b"av1C", b"colr", b"pixi"):
        at = body.index(kind) - 4
        properties += body[at : at + int.from_bytes(body[at : at + 4], "big")]
    return body[body.index(b"mdat") + 4 :], properties


def avif(
    size: tuple[int, int],
    pictures: list[bytes],
    described: bytes,
    grid: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    exif: bytes = b"",
    extents: int = 1,
    is_inside: bool = False,
    extra: bytes = b"",
) -> bytes:
    """Return an AVIF, https://aomediacodec.github.io/av1-avif/, of one AV1 picture or of a grid of equal tiles.

    Args:
        size: width and height of the image.
        pictures: the AV1 pictures, in rows.
        described: the properties of each picture, without its size.
        grid: rows and columns of the tiles.
        tile: width and height of a tile.
        exif: content of an EXIF item.
        extents: number of parts in which the first item is stored.
        is_inside: whether the items are in the box `idat` instead of `mdat`.
        extra: boxes after the others.
    """
    items = [(b"av01", picture) for picture in pictures]
    if grid is not None:
        layout = struct.pack(">BBBBHH", 0, 0, grid[0] - 1, grid[1] - 1, *size)
        items = [(b"grid", layout), *items]
    if exif:
        items.append((b"Exif", struct.pack(">L", 0) + exif))
    entries = b"".join(
        box(b"infe", struct.pack(">HH4s", index, 0, kind) + b"\0", b"\2\0\0\0")
        for index, (kind, _) in enumerate(items, 1)
    )
    sizes = [box(b"ispe", struct.pack(">LL", *(side or size)), b"\0" * 4) for side in (size, tile)]
    links = b""
    for index, (kind, _) in enumerate(items, 1):
        own = {b"grid": [1], b"av01": [1 if grid is None else 2, 0x83, 4, 5], b"Exif": []}[kind]
        links += struct.pack(">HB", index, len(own)) + bytes(own)
    properties = box(b"ipco", b"".join(sizes) + described) + box(
        b"ipma", struct.pack(">L", len(items)) + links, b"\0" * 4
    )
    references = b""
    if grid is not None:
        tiles = range(2, 2 + len(pictures))
        references += box(b"dimg", struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *tiles))
    if exif:
        references += box(b"cdsc", struct.pack(">HHH", len(items), 1, 1))
    content = b"".join(item for _, item in items)
    head = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")

    def meta(start: int) -> bytes:
        places = b""
        for index, (_, item) in enumerate(items, 1):
            parts = extents if index == 1 else 1
            cuts = [len(item) * part // parts for part in range(parts + 1)]
            places += struct.pack(">HHHH", index, int(is_inside), 0, parts)
            for begin, end in itertools.pairwise(cuts):
                places += struct.pack(">LL", start + begin, end - begin)
            start += len(item)
        return box(
            b"meta",
            box(b"hdlr", b"\0" * 4 + b"pict" + b"\0" * 13, b"\0" * 4)
            + box(b"pitm", b"\0\1", b"\0" * 4)
            + box(b"iloc", struct.pack(">HH", 0x4400, len(items)) + places, b"\1\0\0\0")
            + box(b"iinf", struct.pack(">H", len(items)) + entries, b"\0" * 4)
            + (box(b"iref", references, b"\0" * 4) if references else b"")
            + box(b"iprp", properties)
            + (box(b"idat", content) if is_inside else b""),
            b"\0" * 4,
        )

    if is_inside:
        return head + meta(0) + extra
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", content) + extra


TILED: Pixels = np.tile(np.repeat(np.repeat(SCENE[:16, :16], 4, axis=0), 4, axis=1), (1, 2, 1))[:, :100]


def _avifs() -> dict[str, OddImage]:
    best: dict[str, object] = {"quality": 100, "subsampling": "4:4:4"}
    later = [Image.fromarray(255 - SCENE)] * 2
    with_alpha = Image.fromarray(np.dstack([SCENE, ALPHA]))
    picture, described = av1_of(SCENE)
    left, tile_described = av1_of(np.ascontiguousarray(TILED[:, :64]))
    kinds = {
        "": (scene_as("AVIF", **best), SCENE),
        "with alpha": (saved(with_alpha, "AVIF", **best), SCENE),
        "animated": (scene_as("AVIF", save_all=True, append_images=later, **best), SCENE),
        "of 10 bits": (_TEN_BITS, SCENE),
        "grey": (saved(Image.fromarray(GREY), "AVIF", quality=100), as_rgb(GREY)),
        "in two parts": (avif((WIDTH, HEIGHT), [picture], described, extents=2), SCENE),
        "in its header": (avif((WIDTH, HEIGHT), [picture], described, is_inside=True), SCENE),
        "in tiles": (avif((100, 64), [left, left], tile_described, (1, 2), (64, 64)), TILED),
        "with an EXIF that says another orientation": (
            avif((WIDTH, HEIGHT), [picture], described, exif=exif_block(6)),
            SCENE,
        ),
        "with a corrupt EXIF": (avif((WIDTH, HEIGHT), [picture], described, exif=b"MM\0*\xff\xff\xff\xff"), SCENE),
        **{
            f"turned {orientation}": (
                scene_as("AVIF", exif=b"Exif\0\0" + exif_block(orientation), **best),
                turned(SCENE),
            )
            for orientation, turned in TURNED.items()
        },
    }
    odd = {f"AVIF {name}".strip(): OddImage(*kind, NEAR) for name, kind in kinds.items()}
    odd["AVIF with a quarter of the chroma"] = OddImage(scene_as("AVIF", quality=100), SCENE, SOFT)
    return odd


def png_with(chunks: bytes = b"", later: bytes = b"") -> bytes:
    """Return the scene as PNG with more chunks before its pixels, and after them."""
    plain = png(SCENE, 8, 2, chunks)
    return plain[:-12] + later + plain[-12:]


def gif_with(extension: bytes) -> bytes:
    """Return the GIF with an extension before its frame."""
    return gif()[: 13 + 768] + extension + gif()[13 + 768 :]


def webp_with_metadata(orientation: int = 1) -> bytes:
    """Return the scene as WebP with a colour profile, EXIF and XMP."""
    exif = b"Exif\0\0" + exif_block(orientation)
    return scene_as("WEBP", lossless=True, icc_profile=b"a" * 99, exif=exif, xmp=b"<x/>")


def tiff_with(tag: int, kind: int, count: int, value: int) -> bytes:
    """Return INDEXES in COLOURS as TIFF with one more tag. The tag of the palette has the number 320."""
    wide = COLOURS.T.astype(np.uint16).ravel() * 257
    plain = tiff(INDEXES, 8, 3, extra={320: tuple(wide.tolist()), tag: (0,)})
    return plain.replace(struct.pack("<HHLHH", tag, 3, 1, 0, 0), struct.pack("<HHLL", tag, kind, count, value))


def with_bad_metadata() -> dict[str, OddImage]:
    """Return images with sound pixels, and metadata that Pillow refuses."""
    huge = zlib.compress(b"a" * (2 << 20), 9)  # 2 MiB; Pillow unpacks at most one
    bad_sum = {
        name: struct.pack(">L", 30) + name + bytes(30) + b"sum?"
        for name in (b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"tIME", b"iCCP", b"eXIf", b"tEXt", b"acTL", b"abCd")
    }
    short = {name: chunk(name, b"a") for name in (b"pHYs", b"gAMA", b"cHRM", b"tRNS", b"iCCP", b"acTL", b"fcTL")}
    short[b"sRGB"] = chunk(b"sRGB", b"")
    pngs = {
        "zTXt of 2 MiB": png_with(chunk(b"zTXt", b"k\0\0" + huge)),
        "iTXt of 2 MiB": png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + huge)),
        "iCCP of 2 MiB": png_with(chunk(b"iCCP", b"k\0\0" + huge)),
        "zTXt of 2 MiB after its pixels": png_with(later=chunk(b"zTXt", b"k\0\0" + huge)),
        "zTXt of an unknown compression": png_with(chunk(b"zTXt", b"k\0\1")),
        **{f"wrong sum in {name.decode()}": png_with(bad) for name, bad in bad_sum.items()},
        **{f"short {name.decode()}": png_with(bad) for name, bad in short.items()},
        **{f"short {name.decode()} after its pixels": png_with(later=bad) for name, bad in short.items()},
    }
    entries = struct.pack("<HHLL", 0xB001, 4, 1, 2) + struct.pack("<HHLL", 0xB002, 7, 4, 0)
    jpegs = {
        "short JFIF": jpeg_with(b"JFIF", 0xE0),
        "short Adobe": jpeg_with(b"Adobe\0", 0xEE),
        "short ICC_PROFILE": jpeg_with(b"ICC_PROFILE\0", 0xE2),
        "short ICC_PROFILE with a number": jpeg_with(b"ICC_PROFILE\0\1", 0xE2),
        "short Photoshop": jpeg_with(b"Photoshop 3.0\0" + b"8BIM\3\xed", 0xED),
        "short MPF": jpeg_with(b"MPF\0II*\0" + struct.pack("<LH", 8, 2) + entries + bytes(4), 0xE2),
    }
    gifs = {
        "graphic control of a byte": gif_with(b"\x21\xf9\1\1\0"),
        "graphic control of no byte": gif_with(b"\x21\xf9\0"),
        "application of no byte": gif_with(b"\x21\xff\0"),
    }
    webp = webp_with_metadata()
    webps = {
        "XMP cut off": webp[:-6],
        "EXIF cut off": webp[:-20],
        "size too large": webp[:4] + struct.pack("<L", len(webp) + 99) + webp[8:],
        "size too small": webp[:4] + struct.pack("<L", len(webp) - 30) + webp[8:],
        "EXIF of too many bytes": webp.replace(b"EXIF" + struct.pack("<L", 26), b"EXIF" + struct.pack("<L", 99)),
    }
    far = 1 << 30
    tiffs = {
        "text far away": tiff_with(305, 2, 99, far),
        "date far away": tiff_with(306, 2, 20, far),
        "orientation far away": tiff_with(274, 3, 99, far),
        "XMP of numbers": tiff_with(700, 3, 2, 7),
        "XMP of text": tiff_with(700, 2, 1, 65),
    }
    indexed = COLOURS[INDEXES]
    return {
        **{f"PNG with {name}": OddImage(body, SCENE) for name, body in pngs.items()},
        "PNG turned, with a short pHYs": OddImage(
            png_with(short[b"pHYs"] + chunk(b"eXIf", exif_block(6))), TURNED[6](SCENE)
        ),
        "PNG with alpha and a short tRNS": OddImage(
            png(INDEXES, 8, 3, chunk(b"PLTE", COLOURS.tobytes()) + chunk(b"tRNS", b"\0\1") + short[b"gAMA"]), indexed
        ),
        **{f"JPEG with {name}": OddImage(body, SCENE, NEAR) for name, body in jpegs.items()},
        "JPEG turned, with a short JFIF": OddImage(
            jpeg_with(b"Exif\0\0" + exif_block(6)).replace(b"\xff\xe0", b"\xff\xe0\0\6JFIF\xff\xe0", 1),
            TURNED[6](SCENE),
            NEAR,
        ),
        "JPEG of YCCK with a short ICC_PROFILE": OddImage(
            ycck_jpeg().replace(b"\xff\xee", b"\xff\xe2\0\x0eICC_PROFILE\0\xff\xee", 1), SCENE, NEAR
        ),
        **{f"GIF with {name}": OddImage(body, indexed) for name, body in gifs.items()},
        **{f"WebP with {name}": OddImage(body, SCENE) for name, body in webps.items()},
        "WebP turned, with XMP cut off": OddImage(webp_with_metadata(6)[:-6], TURNED[6](SCENE)),
        **{f"TIFF with {name}": OddImage(body, indexed) for name, body in tiffs.items()},
        "TIFF turned, with a text far away": OddImage(
            tiff_with(305, 2, 99, far).replace(
                struct.pack("<HHLHH", 277, 3, 1, 1, 0), struct.pack("<HHLHH", 274, 3, 1, 6, 0)
            ),
            TURNED[6](indexed),
        ),
        "BMP with a colour profile far away": OddImage(_bmp_with_profile(), SCENE),
    }


def _bmp_with_profile() -> bytes:
    """Return a BMP with a BITMAPV5HEADER, which says that its profile lies after the end of the file."""
    plain = bmp([row.tobytes() for row in SCENE[:, :, ::-1]], 24)
    rest = b"DEBM" + bytes(52) + struct.pack("<LL", 1 << 30, 1 << 30)
    longer = rest.rjust(84, b"\0") + bytes(124 - 40 - 84)
    return plain[:10] + struct.pack("<LL", 14 + 124, 124) + plain[18:54] + longer + plain[54:]
