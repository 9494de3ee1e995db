"""Image bytes to pixels, by the one function that serving, the reference and training share."""

import re
import warnings
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from driftserve.errors import BadRequest, ImageTooLarge, UndecodableImage
from driftserve.images.bounded_file import BoundedFile
from driftserve.images.header import (
    count_gif_frames,
    count_tiff_frames,
    exif_orientation,
    first_tiff_directory,
    jpeg_exif_blocks,
    webp_size,
)

# The files that count as images in a folder, and the media type to send each as.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

_UPRIGHT = {
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
# With the length and the number of components: a phone appends a film, in which FF DA alone is frequent.
_JPEG_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
# Scans, compressed texts and profiles: each costs milliseconds however few bytes it has. A progressive JPEG has
# about ten scans, and one more for a thumbnail.
_MOST_DEAR_PARTS = 100
# Offsets and lengths of strips or tiles: 390,000 in an image of 50 megapixels in the smallest tiles of all, 16x16.
_MOST_TIFF_NUMBERS = 400_000
_BMP_RUNS = (1, 2)
_MOST_RUN_PIXELS = 4_000_000  # Pillow decodes a bitmap in runs in Python, 0.1 us a pixel


@dataclass(frozen=True)
class ImageLimits:
    """The largest image that is decoded: width times height, the longer side, and frames or pages."""

    pixels: int = 50_000_000
    side: int = 16_384
    frames: int = 1_000


DEFAULT_LIMITS = ImageLimits()


def decode(body: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> npt.NDArray[np.uint8]:
    """The image in the bytes as RGB, shape (H, W, 3) uint8, upright by its EXIF orientation.

    - The limits are held against the header, before any pixel is decoded.
    - Of an animation or a multi-page file only the first frame is decoded.
    - Alpha and transparent colours are ignored, not blended, as timm and torchvision do by `convert("RGB")`.
    - Of 16 bits a channel the upper 8 are taken. CMYK is converted without colour management.
    - A corrupt EXIF block counts as none.

    Raises:
        UndecodableImage: the bytes are no whole image of `FORMATS`, or its pixels are floats or 32-bit
            integers, whose black and white no format defines.
        ImageTooLarge: the image is beyond the limits, or beyond the memory there is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of big images and odd metadata
            return _decode(body, limits)
    except BadRequest:
        raise
    except UnidentifiedImageError as error:
        raise UndecodableImage(
            f"expected an image ({', '.join(FORMATS)}), got {len(body)} bytes that are none, "
            "or whose header is corrupt or of a rare kind; send a plain JPEG or PNG"
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLarge(
            f"expected at most {limits.pixels} pixels and sides of at most {limits.side}, "
            f"got more than can be decoded; send a smaller image"
        ) from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds on corrupt bytes, struct.error among them
        raise UndecodableImage(f"expected a whole image, got one that breaks off or is corrupt: {error}") from error


def _decode(body: bytes, limits: ImageLimits) -> npt.NDArray[np.uint8]:
    _check_part_count(body)
    _check_tiff(body, limits)
    if size := webp_size(body):
        _check_size(*size, limits)
    body, exif = _without_jpeg_exif(body)
    file = BoundedFile(body)
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image.width, image.height, limits)
        _check_frame_count(_count_frames(image, body, limits.frames), limits)
        _check_pixel_format(image)
        file.allow_pixels()
        if isinstance(image, TiffImageFile):
            _forget_directories_within(image)
        image.load()  # a TIFF is upright after this
        orientation = exif_orientation(exif or _exif(image))
        upright = _to_rgb(image)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
        return np.asarray(upright, dtype=np.uint8)


def _check_part_count(body: bytes) -> None:
    number = 0
    if body.startswith(_JPEG):
        number = sum(1 for _ in islice(_JPEG_SCAN.finditer(body), _MOST_DEAR_PARTS + 1))
    elif body.startswith(PNG_SIGNATURE):
        number = body.count(b"TXt") + body.count(b"iCCP")  # iTXt and zTXt, not tEXt
    if number > _MOST_DEAR_PARTS:
        raise UndecodableImage(
            f"expected at most {_MOST_DEAR_PARTS} scans, compressed texts or profiles, got more; save the image again"
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


def _forget_directories_within(image: TiffImageFile) -> None:
    """Keep Pillow from reading every tag of the EXIF, GPS and interoperability directories: it does on loading."""
    tags = image.getexif()
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        tags.pop(tag, None)


def _without_jpeg_exif(body: bytes) -> tuple[bytes, bytes]:
    """A JPEG with its EXIF blocks hidden, and the first of them; other bytes as they are.

    Pillow reads the EXIF of a JPEG when it opens it, for the resolution, and can fail or take minutes over it.
    """
    blocks = jpeg_exif_blocks(body) if body.startswith(_JPEG) else []
    if not blocks:
        return body, b""
    if len(blocks) > _MOST_DEAR_PARTS:
        raise UndecodableImage(f"expected at most {_MOST_DEAR_PARTS} EXIF blocks, got more; save the image again")
    hidden = bytearray(body)
    for start, _ in blocks:
        hidden[start : start + len(_EXIF)] = b"------"
    start, end = blocks[0]
    return bytes(hidden), body[start + len(_EXIF) : end]


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
    return int(getattr(image, "n_frames", 1))  # the headers of APNG, WebP and MPO say it


def _check_frame_count(frames: int, limits: ImageLimits) -> None:
    if frames > limits.frames:
        raise ImageTooLarge(f"expected at most {limits.frames} frames or pages, got more; send the first alone")


def _check_pixel_format(image: Image.Image) -> None:
    pixels = image.width * image.height
    if image.format == "BMP" and image.info["compression"] in _BMP_RUNS and pixels > _MOST_RUN_PIXELS:
        raise ImageTooLarge(
            f"expected at most {_MOST_RUN_PIXELS} pixels in a bitmap of runs (RLE), got {pixels}; save it as PNG"
        )
    if image.mode in ("I", "F"):
        kind = "float" if image.mode == "F" else "signed or 32-bit integer"
        raise UndecodableImage(
            f"expected pixels of 8 or 16 bits a channel, got {kind} ones, whose range is not defined; "
            "scale them to 8 bits yourself"
        )


def _exif(image: Image.Image) -> bytes:
    """The EXIF block of a PNG or WebP, after it was loaded; empty for the others."""
    exif = image.info.get("exif")
    return exif.removeprefix(_EXIF) if isinstance(exif, bytes) else b""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_upper_byte(image)).convert("RGB")
    image.info.pop("transparency", None)  # Pillow would look for a free colour for it
    return image.convert("RGB")


def _upper_byte(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A 16-bit grey image as 8 bits, shape (H, W). Pillow's convert clips it instead; a TIFF may have 12 bits."""
    bits, is_white_zero = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, (16,))[0]
        is_white_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return ~grey if is_white_zero else grey
