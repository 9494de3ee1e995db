"""Decodes image bytes to pixels, by the same function for serving, the reference and training."""

import re
import warnings
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from driftserve.errors import BadRequest, ImageTooLarge, UndecodableImage
from driftserve.images.avif import read_avif
from driftserve.images.bounded_file import BoundedFile
from driftserve.images.header import (
    count_gif_frames,
    count_tiff_frames,
    exif_orientation,
    first_tiff_directory,
    jpeg_exif_blocks,
    webp_size,
)
from driftserve.images.metadata import without_metadata

# The suffixes of image files in a folder, and the media type of each.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

_TO_UPRIGHT = {  # the transposition that undoes each EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG = b"\xff\xd8\xff"
_EXIF = b"Exif\0\0"
# The start of a scan: the marker FF DA with its length and number of components. The marker alone is frequent in the
# videos that phones append to a JPEG.
_JPEG_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
# The most scans, EXIF blocks, compressed texts or colour profiles in an image: even a small one takes milliseconds. A
# progressive JPEG has about ten scans, and one more for a thumbnail.
_MOST_COSTLY_PARTS = 100
# The most numbers in the tags of a TIFF, mostly offsets and lengths of its strips or tiles. An image of 65 megapixels
# in the smallest tiles, 16x16, has 508,000.
_MOST_TIFF_NUMBERS = 520_000
_BMP_RUNS = (1, 2)  # compression codes RLE8 and RLE4 of bitmaps
_MOST_RUN_PIXELS = 4_000_000  # most pixels of an RLE bitmap, which Pillow decodes in Python, 0.1 us per pixel
# The most pixels of all coded pictures in an AVIF, as a multiple of those that an image may have: colours, alpha, each
# with a margin for tiles over the edge, and thumbnails.
_MOST_AVIF_PIXELS = 3
_STRIP_PIXELS = 1 << 20  # a larger image is copied to numpy in strips of this size


@dataclass(frozen=True)
class ImageLimits:
    """The largest image that is accepted: width times height, the longer side, and frames or pages."""

    pixels: int = 65_000_000  # a camera of 64 megapixels takes 9248x6936
    side: int = 16_384
    frames: int = 1_000


DEFAULT_LIMITS = ImageLimits()


def decode(body: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> npt.NDArray[np.uint8]:
    """Return the image in the bytes as RGB, shape (H, W, 3) uint8, upright according to its EXIF orientation.

    - The header is checked against the limits before any pixel is decoded.
    - Only the first frame of an animation or a multi-page file is decoded.
    - Alpha and transparent colours are ignored, not blended, as timm and torchvision do with `convert("RGB")`.
    - 16-bit channels keep their upper 8 bits. CMYK is converted without colour management.
    - Metadata that are corrupt, or too large for Pillow, are ignored: the image is decoded again without them.
    - An AVIF is turned by its own properties. Its still image is decoded, also if it is an animation too.

    Raises:
        UndecodableImage: the bytes are not a complete image in one of `FORMATS`, or its pixels are floats or 32-bit
            integers, for which no format defines black and white.
        ImageTooLarge: the image exceeds the limits or the available memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about big images and odd metadata
            return _decode(body, limits)
    except BadRequest:
        raise
    except UnidentifiedImageError as error:
        raise UndecodableImage(
            f"expected an image ({', '.join(FORMATS)}), got {len(body)} bytes with an unknown or corrupt header; "
            "send a plain JPEG or PNG"
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLarge(
            f"expected at most {limits.pixels} pixels and sides of at most {limits.side}, "
            "got an image that does not fit into memory; send a smaller image"
        ) from error
    except Exception as error:  # Pillow's decoders raise errors of many types on corrupt bytes, such as struct.error
        raise UndecodableImage(f"expected a complete image, got a truncated or corrupt one: {error}") from error


def count_pixels(body: bytes) -> int:
    """Return the number of pixels that an image's header announces; 0 if the header is unreadable or refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body, _ = _without_jpeg_exif(_without_avif_costs(body, DEFAULT_LIMITS))
            _check_part_count(body)
            _check_tiff(body, DEFAULT_LIMITS)
            if size := webp_size(body):
                return size[0] * size[1]
            with Image.open(BoundedFile(body), formats=FORMATS) as image:
                return image.width * image.height
    except Exception:  # `decode` reports what is wrong
        return 0


def _decode(body: bytes, limits: ImageLimits) -> npt.NDArray[np.uint8]:
    body, exif = _without_jpeg_exif(_without_avif_costs(body, limits))
    file = BoundedFile(body)
    try:
        return _read(body, file, exif, limits)
    except (BadRequest, MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        # Pillow says by an OSError or EOFError that the pixels are corrupt. Other errors are about metadata.
        if file.is_in_pixels and isinstance(error, (OSError, EOFError)):
            raise
        plain = without_metadata(body)
        if plain == body:
            raise
    return _read(plain, BoundedFile(plain), exif, limits)


def _read(body: bytes, file: BoundedFile, exif: bytes, limits: ImageLimits) -> npt.NDArray[np.uint8]:
    """Decode a file with these bytes; `exif` is the EXIF block that was taken out of a JPEG."""
    _check_part_count(body)
    _check_tiff(body, limits)
    if size := webp_size(body):
        _check_size(*size, limits)
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image.width, image.height, limits)
        _check_frame_count(_count_frames(image, body, limits.frames), limits)
        _check_pixel_format(image)
        file.allow_pixels()
        if isinstance(image, TiffImageFile):
            _drop_exif_directories(image)
        file.is_in_pixels = True
        image.load()  # this also makes a TIFF upright
        orientation = exif_orientation(exif or _exif(image))
        upright = _to_rgb(image)
        if orientation in _TO_UPRIGHT:
            upright = upright.transpose(_TO_UPRIGHT[orientation])
        return _to_array(upright)


def _check_part_count(body: bytes) -> None:
    number = 0
    if body.startswith(_JPEG):
        number = sum(1 for _ in islice(_JPEG_SCAN.finditer(body), _MOST_COSTLY_PARTS + 1))
    elif body.startswith(PNG_SIGNATURE):
        number = body.count(b"TXt") + body.count(b"iCCP")  # chunks iTXt and zTXt, but not tEXt; colour profiles
    if number > _MOST_COSTLY_PARTS:
        raise UndecodableImage(
            f"expected at most {_MOST_COSTLY_PARTS} scans, compressed texts or profiles, got more; save the image again"
        )


def _check_tiff(body: bytes, limits: ImageLimits) -> None:
    directory = first_tiff_directory(body)
    if directory is None:
        return
    if directory.numbers > _MOST_TIFF_NUMBERS:
        raise UndecodableImage(
            f"expected at most {_MOST_TIFF_NUMBERS} numbers in the tags of a TIFF, got {directory.numbers}; save it in "
            "larger strips or tiles, or as PNG"
        )
    if directory.tile is not None:
        _check_size(*directory.tile, limits)


def _drop_exif_directories(image: TiffImageFile) -> None:
    """Drop the EXIF, GPS and interoperability directories, so that `load` does not read every tag in them."""
    tags = image.getexif()
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        tags.pop(tag, None)


def _without_jpeg_exif(body: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG with its EXIF blocks hidden, and the first of these blocks; return other bytes unchanged.

    Otherwise Pillow's `open` would read the EXIF to get the resolution, and could fail or take minutes.
    """
    blocks = jpeg_exif_blocks(body) if body.startswith(_JPEG) else []
    if not blocks:
        return body, b""
    if len(blocks) > _MOST_COSTLY_PARTS:
        raise UndecodableImage(f"expected at most {_MOST_COSTLY_PARTS} EXIF blocks, got more; save the image again")
    hidden = bytearray(body)
    for start, _ in blocks:
        hidden[start : start + len(_EXIF)] = b"------"
    start, end = blocks[0]
    return bytes(hidden), body[start + len(_EXIF) : end]


def _without_avif_costs(body: bytes, limits: ImageLimits) -> bytes:
    """Check an AVIF against the limits; return it without what Pillow need not read. Return other bytes unchanged."""
    header = read_avif(body)
    if header is None:
        return body
    for size in header.sizes:
        _check_size(*size, limits)
    if header.coded_pixels > _MOST_AVIF_PIXELS * limits.pixels:
        raise ImageTooLarge(
            f"expected at most {_MOST_AVIF_PIXELS * limits.pixels} pixels in all pictures of an AVIF, "
            f"got {header.coded_pixels}; send a smaller image"
        )
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the time of other threads would not count for the limits of a request
    return header.body


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width < 1 or height < 1:
        raise UndecodableImage(f"expected an image with pixels, got {width}x{height}")
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageTooLarge(
            f"expected at most {limits.pixels} pixels and sides of at most {limits.side}, "
            f"got {width}x{height}; send a smaller image"
        )


def _count_frames(image: Image.Image, body: bytes, limit: int) -> int:
    if image.format == "GIF":
        return count_gif_frames(body, limit)
    if image.format == "TIFF":
        return count_tiff_frames(body, limit)
    return int(getattr(image, "n_frames", 1))  # APNG, WebP and MPO have the number in their headers


def _check_frame_count(frames: int, limits: ImageLimits) -> None:
    if frames > limits.frames:
        raise ImageTooLarge(f"expected at most {limits.frames} frames or pages, got more; send only the first")


def _check_pixel_format(image: Image.Image) -> None:
    pixels = image.width * image.height
    if image.format == "BMP" and image.info["compression"] in _BMP_RUNS and pixels > _MOST_RUN_PIXELS:
        raise ImageTooLarge(
            f"expected at most {_MOST_RUN_PIXELS} pixels in an RLE bitmap, got {pixels}; save it as PNG"
        )
    if image.mode in ("I", "F"):
        kind = "float" if image.mode == "F" else "signed or 32-bit integer"
        raise UndecodableImage(
            f"expected 8 or 16 bits per channel, got {kind} pixels, whose range is not defined; "
            "convert the image to 8 bits"
        )


def _exif(image: Image.Image) -> bytes:
    """Return the EXIF block of a loaded PNG, WebP or AVIF; empty for other formats.

    Pillow makes the block of an AVIF from the image's properties `irot` and `imir`.
    """
    exif = image.info.get("exif")
    return exif.removeprefix(_EXIF) if isinstance(exif, bytes) else b""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_upper_byte(image)).convert("RGB")
    image.info.pop("transparency", None)  # otherwise Pillow would search for a colour that the image does not use
    return image.convert("RGB")


def _upper_byte(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the upper 8 bits of each pixel of a grey image of 12 (in a TIFF) or 16 bits, shape (H, W).

    Pillow's `convert` would clip values over 255 instead.
    """
    bits, is_white_zero = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, (16,))[0]
        is_white_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return ~grey if is_white_zero else grey


def _to_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return an RGB image as an array. A large one is copied in strips, because Pillow copies a strip twice."""
    if image.width * image.height <= _STRIP_PIXELS:
        return np.asarray(image, dtype=np.uint8)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels
