import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from driftserve.drift.features import feature_names, features, shift_of
from driftserve.images.raster import to_raster
from driftserve.images.statistics import IMAGE_STATISTICS

BLACK = np.zeros((8, 8, 3), np.uint8)


def _columns(image: np.ndarray, probabilities: np.ndarray | None = None) -> dict[str, float]:
    given = np.array([[0.6, 0.3, 0.1]]) if probabilities is None else probabilities
    rows = features([to_raster(image)], given, np.array([[1.5, -2.0]], np.float32))
    return dict(zip(feature_names(("a", "b", "c"), 2), rows[0].tolist(), strict=True))


def _photo(generator: np.random.Generator, side: int = 160) -> np.ndarray:
    """Return an image with smooth structures of many sizes and a little noise, like a photograph."""
    planes = [ndimage.gaussian_filter(generator.normal(size=(side, side, 3)), (s, s, 0)) * s for s in (1, 3, 9)]
    image = 128 + 60 * sum(planes) + generator.normal(0, 1.5, (side, side, 3))
    return np.asarray(image.clip(0, 255), np.uint8)


def test_the_columns_match_their_names() -> None:
    columns = _columns(BLACK)
    assert list(columns) == [
        *("probability.a", "probability.b", "probability.c", "margin", "entropy"),
        *("embedding.0", "embedding.1"),
        *IMAGE_STATISTICS,
    ]
    assert (columns["probability.b"], columns["embedding.1"]) == (0.3, -2.0)


def test_every_feature_belongs_to_a_shift() -> None:
    shifts = [shift_of(name) for name in feature_names(("a", "b", "c"), 2)]
    assert shifts == ["label"] * 3 + ["confidence"] * 2 + ["input"] * 10


def test_margin_and_entropy_agree_with_scipy() -> None:
    columns = _columns(BLACK)
    assert np.isclose(columns["margin"], 0.3)
    assert np.isclose(columns["entropy"], stats.entropy([0.6, 0.3, 0.1]))


def test_the_entropy_of_a_certain_prediction_is_zero() -> None:
    assert _columns(BLACK, np.array([[1.0, 0.0, 0.0]]))["entropy"] == 0.0


def test_image_statistics_agree_with_an_independent_computation(generator: np.random.Generator) -> None:
    image = generator.integers(0, 256, (16, 12, 3)).astype(np.uint8)  # smaller than a tile: the image is the only tile
    columns = _columns(image)
    whole = image.astype(np.int64)
    luma = whole @ np.array([77, 150, 29]) // 256
    saturation = np.mean([colorsys.rgb_to_hsv(*(pixel / 255.0))[1] for pixel in image.reshape(-1, 3)])
    laplacian = ndimage.laplace(luma)[1:-1, 1:-1]
    first = (np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2
    second = (np.abs(np.diff(luma, 2, axis=0)).mean() + np.abs(np.diff(luma, 2, axis=1)).mean()) / 2
    colour = np.mean([np.abs(np.diff(whole[:, :, i] - whole[:, :, 1], axis=1)).mean() for i in (0, 2)])
    assert np.isclose(columns["brightness"], luma.mean(), rtol=1e-5)
    assert np.isclose(columns["contrast"], luma.std(), rtol=1e-4)
    assert np.isclose(columns["saturation"], saturation, rtol=1e-5)
    assert np.isclose(columns["clipping"], (image.max(axis=2) == 255).mean())
    assert np.isclose(columns["colour_detail"], np.log(colour), rtol=1e-3)
    assert np.isclose(columns["sharpness"], np.log(laplacian.var()), rtol=1e-4)
    assert np.isclose(columns["roughness"], np.log(second / first), rtol=1e-3)


def test_brightness_is_near_the_luma_of_bt601(generator: np.random.Generator) -> None:
    image = generator.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert _columns(image)["brightness"] == pytest.approx((image @ np.array([0.299, 0.587, 0.114])).mean(), abs=0.6)


@pytest.mark.parametrize("shift", [0, 3])
def test_blocking_rises_with_blocks_at_any_offset(generator: np.random.Generator, shift: int) -> None:
    photo = _photo(generator)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=20)
    blocky = np.asarray(Image.open(buffer))[shift:, shift:]
    assert _columns(blocky)["blocking"] > _columns(photo[shift:, shift:])["blocking"] + 0.15


@pytest.mark.parametrize("axis", [0, 1])
def test_blocking_is_seen_along_rows_and_along_columns(generator: np.random.Generator, axis: int) -> None:
    steps = np.repeat(generator.integers(0, 200, 20), 8) + generator.integers(0, 8, 160)
    bands = np.expand_dims(steps, (1 - axis, 2)) * np.ones((160, 160, 3))
    smooth = generator.integers(0, 8, (160, 160, 3))
    assert _columns(bands.astype(np.uint8))["blocking"] > _columns(smooth.astype(np.uint8))["blocking"] + 0.5


def test_roughness_falls_with_lost_high_frequencies_and_rises_with_noise(generator: np.random.Generator) -> None:
    photo = _photo(generator)
    blurred = ndimage.gaussian_filter(photo, (1, 1, 0))
    noisy = (photo + generator.normal(0, 10, photo.shape)).clip(0, 255).astype(np.uint8)
    roughness = [_columns(image)["roughness"] for image in (blurred, photo, noisy)]
    assert roughness == sorted(roughness)
    assert min(np.diff(roughness)) > 0.05


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 1, 3), (1, 50, 3), (3, 2, 3), (40, 5, 3)])
def test_a_flat_black_image_of_any_shape_has_finite_features(shape: tuple[int, ...]) -> None:
    assert np.isfinite(list(_columns(np.zeros(shape, np.uint8)).values())).all()


def test_a_row_does_not_depend_on_its_batch(generator: np.random.Generator) -> None:
    rasters = [to_raster(generator.integers(0, 256, (16 + i, 70, 3)).astype(np.uint8)) for i in range(5)]
    probabilities = generator.dirichlet(np.ones(3), 5)
    embedding = generator.normal(size=(5, 2)).astype(np.float32)
    together = features(rasters, probabilities, embedding)
    alone = np.concatenate(
        [features(rasters[i : i + 1], probabilities[i : i + 1], embedding[i : i + 1]) for i in range(5)]
    )
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    ("shape", "tile"), [((1, 1), (1, 1)), ((20, 33), (20, 32)), ((76, 150), (32, 32)), ((4000, 3000), (32, 32))]
)
def test_a_raster_is_bounded_and_spread_over_the_image(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    rows, columns = np.indices(shape) / np.maximum(np.array(shape) - 1, 1)[:, None, None]
    image = (np.stack([rows, columns, rows], axis=2) * 255).astype(np.uint8)
    raster = to_raster(image)
    assert raster.shape == (16, *tile, 3)
    if min(shape) > 32:
        assert (raster[..., 0].min(), raster[..., 1].min()) == (0, 0)
        assert min(raster[..., 0].max(), raster[..., 1].max()) > 230  # except for the incomplete last block
