import colorsys

import numpy as np
from scipy import ndimage, stats

from driftserve.features import IMAGE_STATISTICS, feature_names, features


def _columns(pixels: np.ndarray, probabilities: np.ndarray | None = None) -> dict[str, float]:
    given = np.array([[0.6, 0.3, 0.1]]) if probabilities is None else probabilities
    rows = features(pixels, given, np.array([[1.5, -2.0]], np.float32))
    return dict(zip(feature_names(("a", "b", "c"), 2), rows[0].tolist(), strict=True))


def test_the_columns_are_those_that_are_named() -> None:
    columns = _columns(np.zeros((1, 3, 8, 8), np.uint8))
    assert list(columns) == [
        *("probability.a", "probability.b", "probability.c", "margin", "entropy"),
        *("embedding.0", "embedding.1"),
        *IMAGE_STATISTICS,
    ]
    assert (columns["probability.b"], columns["embedding.1"]) == (0.3, -2.0)


def test_margin_and_entropy_against_scipy() -> None:
    columns = _columns(np.zeros((1, 3, 8, 8), np.uint8))
    assert np.isclose(columns["margin"], 0.3)
    assert np.isclose(columns["entropy"], stats.entropy([0.6, 0.3, 0.1]))


def test_certain_probabilities_have_no_entropy() -> None:
    columns = _columns(np.zeros((1, 3, 8, 8), np.uint8), np.array([[1.0, 0.0, 0.0]]))
    assert columns["entropy"] == 0.0


def test_image_statistics_against_independent_ones(generator: np.random.Generator) -> None:
    image = generator.integers(0, 256, (16, 12, 3)).astype(np.uint8)
    columns = _columns(image.transpose(2, 0, 1)[None])
    luma = image @ np.array([0.299, 0.587, 0.114])
    saturation = np.mean([colorsys.rgb_to_hsv(*(pixel / 255.0))[1] for pixel in image.reshape(-1, 3)])
    laplacian = ndimage.laplace(luma)[1:-1, 1:-1]
    assert np.isclose(columns["brightness"], luma.mean(), rtol=1e-5)
    assert np.isclose(columns["contrast"], luma.std(), rtol=1e-4)
    assert np.isclose(columns["saturation"], saturation, rtol=1e-5)
    assert np.isclose(columns["sharpness"], np.log(laplacian.var()), rtol=1e-4)


def test_a_flat_black_image_has_finite_features() -> None:
    assert np.isfinite(list(_columns(np.zeros((1, 3, 8, 8), np.uint8)).values())).all()


def test_a_row_does_not_depend_on_its_batch(generator: np.random.Generator) -> None:
    pixels = generator.integers(0, 256, (5, 3, 16, 16)).astype(np.uint8)
    probabilities = generator.dirichlet(np.ones(3), 5)
    embedding = generator.normal(size=(5, 2)).astype(np.float32)
    together = features(pixels, probabilities, embedding)
    alone = np.concatenate(
        [features(pixels[i : i + 1], probabilities[i : i + 1], embedding[i : i + 1]) for i in range(5)]
    )
    assert np.array_equal(together, alone)
