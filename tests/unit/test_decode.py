import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from driftserve.decode import decode
from driftserve.errors import BadRequest, ImageTooLarge, UndecodableImage
from images import encode

GRADIENT = np.stack([np.tile(np.arange(60, dtype=np.uint8), (40, 1))] * 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_image_comes_back_as_it_was(kind: str) -> None:
    assert np.array_equal(decode(encode(GRADIENT, kind)), GRADIENT)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_image_comes_back_nearly(kind: str) -> None:
    decoded = decode(encode(GRADIENT, kind, quality=95))
    assert decoded.shape == GRADIENT.shape
    assert np.abs(decoded.astype(int) - GRADIENT).mean() < 3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(GRADIENT).convert(mode)
    decoded = decode(encode(np.asarray(image), "PNG") if mode in ("L", "RGBA") else _bytes(image))
    assert decoded.shape == (40, 60, 3)
    assert decoded.dtype == np.uint8


def test_exif_orientation_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    decoded = decode(encode(GRADIENT, "JPEG", exif=exif, quality=95))
    assert decoded.shape == (60, 40, 3)


def test_a_header_of_too_many_pixels_is_refused_before_decoding() -> None:
    with pytest.raises(ImageTooLarge, match="expected at most 2000 pixels, got 60x40") as caught:
        decode(encode(GRADIENT), max_pixels=2000)
    assert caught.value.status == 413


@pytest.mark.parametrize("body", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff"])
def test_what_is_no_image_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(UndecodableImage, match="expected"):
        decode(body)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    body = encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8), kind)
    with pytest.raises(UndecodableImage):
        decode(body[: len(body) // 2])


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0"]),
)
def test_any_bytes_are_an_image_or_a_bad_request(body: bytes, magic: bytes) -> None:
    try:
        decoded = decode(magic + body)
    except BadRequest:
        return
    assert decoded.ndim == 3


def _bytes(image: Image.Image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    return buffer.getvalue()
