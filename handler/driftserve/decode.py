"""Image bytes to pixels, by the one function that serving, the reference and training share."""

import warnings
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from driftserve.errors import ImageTooLarge, UndecodableImage

# The files that count as images in a folder, and the media type to send each as.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def decode(body: bytes, max_pixels: int = 50_000_000) -> npt.NDArray[np.uint8]:
    """The image in the bytes as RGB, shape (H, W, 3) uint8, upright by its EXIF orientation.

    The size is read from the header before any pixel is decoded.

    Raises:
        UndecodableImage: the bytes are no whole image of `FORMATS`.
        ImageTooLarge: the image has more than `max_pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of big images; max_pixels is our own bound
            with Image.open(BytesIO(body), formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise ImageTooLarge(
                        f"expected at most {max_pixels} pixels, got {image.width}x{image.height}; send a smaller image"
                    )
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise UndecodableImage(
            f"expected an image ({', '.join(FORMATS)}), got {len(body)} bytes of something else"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"expected at most {max_pixels} pixels, got more; send a smaller image") from error
    except (ImageTooLarge, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on corrupt bytes, struct.error among them
        raise UndecodableImage(f"expected a whole image, got one that breaks off or is corrupt: {error}") from error
