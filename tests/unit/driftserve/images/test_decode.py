import numpy as np
import pytest

from driftserve.errors import ImageTooLarge
from driftserve.images.decode import ImageLimits, count_pixels, decode
from sample_images import encode

GRADIENT = np.stack([np.tile(np.arange(60, dtype=np.uint8), (40, 1))] * 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_image_is_decoded_exactly(kind: str) -> None:
    assert np.array_equal(decode(encode(GRADIENT, kind)), GRADIENT)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_a_lossy_image_is_decoded_approximately(kind: str) -> None:
    decoded = decode(encode(GRADIENT, kind, quality=95))
    assert decoded.shape == GRADIENT.shape
    assert np.abs(decoded.astype(int) - GRADIENT).mean() < 3


@pytest.mark.parametrize("limits", [ImageLimits(pixels=2399), ImageLimits(side=59), ImageLimits(frames=0)])
def test_an_image_beyond_a_limit_is_refused(limits: ImageLimits) -> None:
    with pytest.raises(ImageTooLarge, match="expected at most") as caught:
        decode(encode(GRADIENT), limits)
    assert caught.value.status == 413


def test_an_image_at_every_limit_is_decoded() -> None:
    assert decode(encode(GRADIENT), ImageLimits(pixels=2400, side=60, frames=1)).shape == (40, 60, 3)


def test_the_error_states_the_size_and_the_limit() -> None:
    with pytest.raises(ImageTooLarge, match="expected at most 2000 pixels and sides of at most 16384, got 60x40"):
        decode(encode(GRADIENT), ImageLimits(pixels=2000))


def test_a_large_image_is_the_same_as_its_parts() -> None:
    """Images over a megapixel are copied in strips, here of 699 rows and a rest."""
    pixels = np.random.default_rng(0).integers(0, 256, (1_501, 1_500, 3)).astype(np.uint8)
    assert np.array_equal(decode(encode(pixels, "BMP")), pixels)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_the_pixels_of_an_image_are_counted_from_its_header(format_name: str) -> None:
    body = encode(np.zeros((30, 50, 3), np.uint8), format_name)
    assert count_pixels(body) == 1500
    assert count_pixels(body[:8]) == 0
