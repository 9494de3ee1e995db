"""Check each ImageNet-C corruption against the paper; the tests repeat its constants and formulas independently."""

import colorsys
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage, stats

from driftserve.certification.corruption import blur, digital, noise, weather
from driftserve.certification.corruption.imagenet_c import CORRUPTIONS, SEVERITIES, SIDE, corrupt, standardise

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Constant = TypeVar("Constant")

RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur"),
    *("snow", "frost", "fog", "elastic_transform"),
}


def _by_severity(constants: Sequence[Constant]) -> list[tuple[int, Constant]]:
    return list(enumerate(constants, 1))


@pytest.fixture(scope="module")
def photo() -> Pixels:
    """An image with smooth colours, hard edges and grain, like a photograph."""
    generator = np.random.default_rng(5)
    image = _smooth().astype(np.float32)
    for _ in range(20):
        top, left = generator.integers(0, SIDE - 40, 2)
        image[top : top + 40, left : left + 25] = generator.integers(0, 256, 3)
    return np.asarray((image + generator.normal(0, 8, image.shape)).clip(0, 255), np.uint8)


@pytest.fixture(scope="module")
def corrupted(photo: Pixels) -> Callable[[str, int], Pixels]:
    """The corrupted photos with seed 3, cached."""
    return cache(lambda name, severity: corrupt(photo, name, severity, 3))


def _smooth() -> Pixels:
    down, across = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    waves = [np.sin(across / 17), np.cos(down / 23), np.sin((across + down) / 31)]
    return np.stack([128 + 100 * wave for wave in waves], axis=2).astype(np.uint8)


def _flat(level: int) -> Pixels:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def _floats(image: Pixels) -> Floats:
    return image.astype(np.float32) / 255


def _change(image: Pixels, name: str, severity: int) -> float:
    return float(np.abs(corrupt(image, name, severity, 0).astype(int) - image).mean())


def _assert_cut_off(result: Pixels, exact: npt.NDArray[np.floating], tolerance: float = 0.02) -> None:
    """Assert that the pixels are the exact values in [0, 1], rounded down to whole grey levels."""
    lost = np.clip(exact, 0, 1) * 255 - result
    assert lost.min() > -tolerance
    assert lost.max() < 1 + tolerance


# Properties of all corruptions.


def test_the_corruptions_are_the_papers_fifteen_in_its_order() -> None:
    names = (
        *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    )
    assert names == CORRUPTIONS


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_pixels_and_the_input_is_not_changed(
    photo: Pixels, corrupted: Callable[[str, int], Pixels], name: str, severity: int
) -> None:
    image = photo.copy()
    first, second = corrupted(name, severity), corrupt(image, name, severity, 3)
    assert np.array_equal(first, second)
    assert (first.shape, first.dtype) == (photo.shape, np.uint8)
    assert not np.array_equal(first, photo)
    assert np.array_equal(image, photo)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_another_seed_changes_only_the_random_corruptions(
    photo: Pixels, corrupted: Callable[[str, int], Pixels], name: str, severity: int
) -> None:
    same = np.array_equal(corrupted(name, severity), corrupt(photo, name, severity, 4))
    assert same == (name not in RANDOM)


def test_each_corruption_and_severity_draws_its_own_noise(photo: Pixels) -> None:
    draws = np.random.default_rng((11, CORRUPTIONS.index("impulse_noise"), 4))
    _assert_cut_off(corrupt(photo, "impulse_noise", 4, 11), noise.impulse_noise(_floats(photo), 4, draws))


# Without fog, frost and elastic_transform: a higher severity trades one effect for another (thickness for grain, the
# image's light for ice, long displacements for short ones), which need not change the pixels more.
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"fog", "frost", "elastic_transform"}))
def test_a_higher_severity_changes_the_image_more(photo: Pixels, name: str) -> None:
    assert _change(photo, name, 5) > 1.1 * _change(photo, name, 1) > 0


@pytest.mark.parametrize(
    "name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "contrast", "elastic_transform", "pixelate"]
)
def test_these_corruptions_do_not_change_a_flat_image(name: str) -> None:
    """In single precision, level 100 becomes 99.99998, which must not be rounded down to 99."""
    for level in range(0, 256, 15):
        assert (corrupt(_flat(level), name, 3, 0) == level).all()


def test_an_unknown_corruption_is_refused(photo: Pixels) -> None:
    with pytest.raises(ValueError, match=r"expected one of gaussian_noise, .*, got 'rain'"):
        corrupt(photo, "rain", 1, 0)


@pytest.mark.parametrize("severity", [-1, 0, 6])
def test_a_severity_out_of_range_is_refused(photo: Pixels, severity: int) -> None:
    with pytest.raises(ValueError, match=f"expected a severity of 1 to 5, got {severity}"):
        corrupt(photo, "fog", severity, 0)


@pytest.mark.parametrize(
    "shape", [(SIDE, SIDE), (SIDE, SIDE, 1), (SIDE, SIDE, 4), (3, SIDE, SIDE), (SIDE, SIDE - 1, 3)]
)
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected an image"):
        corrupt(np.zeros(shape, np.uint8), "fog", 1, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_an_image_of_another_type_is_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="expected an image"):
        corrupt(np.zeros((SIDE, SIDE, 3), dtype), "fog", 1, 0)


@pytest.mark.parametrize("size", [(SIDE, 400), (400, SIDE), (SIDE, SIDE)])
def test_standardise_keeps_the_centre(generator: np.random.Generator, size: tuple[int, int]) -> None:
    image = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
    top, left = ((length - SIDE) // 2 for length in size)
    assert np.array_equal(standardise(image), image[top : top + SIDE, left : left + SIDE])


@pytest.mark.parametrize("size", [(150, 450), (500, 300), (1, 1)])
def test_standardise_scales_the_shorter_side(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    side = min(size)
    top, left = ((length - side) // 2 for length in size)
    image[top : top + side, left : left + side] = (10, 20, 30)
    result = standardise(image)
    assert (result.shape, result.dtype, result.flags.c_contiguous) == ((SIDE, SIDE, 3), np.uint8, True)
    assert (result[2:-2, 2:-2] == (10, 20, 30)).all()  # edge pixels mix with cropped ones


# Noise


@pytest.mark.parametrize(("severity", "deviation"), _by_severity([0.08, 0.12, 0.18, 0.26, 0.38]))
def test_gaussian_noise_has_the_papers_deviation(severity: int, deviation: float) -> None:
    result = corrupt(_flat(128), "gaussian_noise", severity, 0)
    levels = np.arange(1, 256)
    below = np.cumsum(np.bincount(result.ravel(), minlength=256))[:-1] / result.size
    assert np.allclose(below, stats.norm.cdf(levels, 128, 255 * deviation), atol=0.005)
    changed = noise.gaussian_noise(_floats(_flat(128)), severity, np.random.default_rng(0))
    assert np.isclose(changed.std(), deviation, rtol=0.01)
    assert abs(np.corrcoef(changed[:, :, 0].ravel(), changed[:, :, 1].ravel())[0, 1]) < 0.02  # independent noise


@pytest.mark.parametrize(("severity", "photons"), _by_severity([60, 25, 12, 5, 3]))
def test_shot_noise_counts_the_papers_photons(severity: int, photons: int) -> None:
    for level in (51, 128, 255):
        changed = noise.shot_noise(_floats(_flat(level)), severity, np.random.default_rng(level))
        assert np.isclose(changed.mean(), level / 255, rtol=0.01)
        assert np.isclose(changed.var(), level / 255 / photons, rtol=0.02)
    counts = np.arange(200)
    greys = np.minimum(counts * 255 // photons, 255)
    expected = np.bincount(greys, stats.poisson.pmf(counts, photons * 51 / 255), minlength=256)
    found = np.bincount(corrupt(_flat(51), "shot_noise", severity, 0).ravel(), minlength=256) / (SIDE * SIDE * 3)
    assert np.allclose(found, expected, atol=0.005)


@pytest.mark.parametrize(("severity", "share"), _by_severity([0.03, 0.06, 0.09, 0.17, 0.27]))
def test_impulse_noise_is_half_salt_and_half_pepper(severity: int, share: float) -> None:
    image = (np.arange(SIDE * SIDE * 3) % 254 + 1).reshape(SIDE, SIDE, 3).astype(np.uint8)  # levels 1 to 254
    result = corrupt(image, "impulse_noise", severity, 0)
    flipped = result != image
    assert np.isin(result[flipped], (0, 255)).all()
    assert np.isclose(flipped.mean(), share, atol=5 * np.sqrt(share / image.size))
    assert np.isclose((result[flipped] == 255).mean(), 0.5, atol=2.5 / np.sqrt(flipped.sum()))
    assert np.isclose(flipped.all(axis=2).mean(), share**3, atol=0.002)  # each channel independently


# Blur


DISKS = [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)]


@pytest.mark.parametrize(("severity", "disk"), _by_severity(DISKS))
def test_defocus_blur_agrees_with_opencv(photo: Pixels, severity: int, disk: tuple[int, float]) -> None:
    kernel = _opencv_disk(*disk)
    assert np.allclose(blur.disk(*disk), kernel, atol=1e-7)
    expected = cv2.filter2D(photo / 255.0, -1, kernel)  # its default border, BORDER_REFLECT_101, as in the original
    _assert_cut_off(corrupt(photo, "defocus_blur", severity, 0), expected)


def _opencv_disk(radius: int, sigma: float) -> npt.NDArray[np.float64]:
    half, points = (8, 3) if radius <= 8 else (radius, 5)
    across, down = np.meshgrid(np.arange(-half, half + 1), np.arange(-half, half + 1))
    inside = (np.hypot(across, down) <= radius).astype(np.float64)
    return np.asarray(cv2.GaussianBlur(inside / inside.sum(), (points, points), sigma))


@pytest.mark.parametrize(("severity", "radius"), _by_severity([3, 4, 6, 8, 10]))
def test_defocus_blur_turns_a_point_into_a_disk(severity: int, radius: int) -> None:
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[100, 120] = 1
    response = blur.defocus_blur(image, severity, np.random.default_rng(0))[:, :, 1]
    down, across = np.indices((SIDE, SIDE))
    distance = np.hypot(down - 100, across - 120)
    assert np.allclose(response[distance <= radius - 3], 1 / (np.pi * radius**2), rtol=0.05)
    assert np.abs(response[distance > radius + 3]).max() < 1e-6
    # The smoothing mirrors a disk at the border of its kernel, also in the original: this adds a little light.
    assert np.isclose(response.sum(), 1, atol=1e-5 if radius < 8 else 0.014)


GLASS = [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)]


@pytest.mark.parametrize(("severity", "constants"), _by_severity(GLASS))
def test_glass_blur_agrees_with_single_swaps(photo: Pixels, severity: int, constants: tuple[float, int, int]) -> None:
    sigma, farthest, passes = constants
    generator = np.random.default_rng(7)
    # Not OpenCV's blur: rounding down after the first blur needs bit-identical numbers.
    swapped = np.floor(ndimage.gaussian_filter(_floats(photo), (sigma, sigma, 0), mode="nearest") * 255)
    grid = [[tuple(pixel) for pixel in row] for row in swapped.tolist()]
    for _ in range(passes):
        draws = iter(generator.integers(-farthest, farthest, (2, (SIDE - 2 * farthest) ** 2)).T.tolist())
        for row in range(SIDE - farthest, farthest, -1):
            for column in range(SIDE - farthest, farthest, -1):
                down, right = next(draws)
                here, there = grid[row][column], grid[row + down][column + right]
                grid[row][column], grid[row + down][column + right] = there, here
    reach = 2 * int(4 * sigma + 0.5) + 1
    expected = cv2.GaussianBlur(np.array(grid), (reach, reach), sigma, borderType=cv2.BORDER_REPLICATE) / 255
    assert np.allclose(blur.glass_blur(_floats(photo), severity, np.random.default_rng(7)), expected, atol=1e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_blur_roughens_an_edge_and_keeps_every_pixel(severity: int) -> None:
    image = _flat(0)
    image[60:160, 60:160] = 255
    result = corrupt(image, "glass_blur", severity, 0)
    white = image[:, :, 0] == 255
    from_edge = ndimage.distance_transform_edt(white) + ndimage.distance_transform_edt(~white)
    assert abs(result.mean() - image.mean()) < 0.5  # copies, as in the original, would change the mean
    assert (np.abs(result.astype(int) - image)[from_edge > 20] > 1).mean() < 0.02
    assert np.std(result[60, 65:155]) > 15


MOTION = [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)]


@pytest.mark.parametrize("degrees", [0.0, 90.0, -90.0, 180.0])
def test_smear_is_half_a_gaussian_along_an_axis(degrees: float) -> None:
    image = np.zeros((61, 61, 1), np.float32)
    image[30, 30] = 1
    trace = blur.smear(image, 10, 3, degrees)[:, :, 0]
    line = {0.0: trace[30, 30::-1], 90.0: trace[30::-1, 30], -90.0: trace[30:, 30], 180.0: trace[30, 30:]}[degrees]
    half = stats.norm.pdf(np.arange(21) / 3)
    assert np.allclose(line[:21], half / half.sum(), atol=1e-6)
    assert np.isclose(line[:21].sum(), trace.sum())  # no light outside this half


@pytest.mark.parametrize("constants", MOTION)
@pytest.mark.parametrize("degrees", [-45.0, -17.0, 0.0, 30.0, 45.0, -60.0, -120.0])
def test_smear_stays_on_a_line_with_its_angle(constants: tuple[int, float], degrees: float) -> None:
    radius, sigma = constants
    image = np.zeros((101, 101, 1), np.float32)
    image[50, 50] = 1
    trace = blur.smear(image, radius, sigma, degrees)[:, :, 0]
    down, across = 50 - np.nonzero(trace)[0], 50 - np.nonzero(trace)[1]  # from lit pixels to the point
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, beside = across * cosine + down * sine, down * cosine - across * sine
    half = stats.norm.pdf(np.arange(2 * radius + 1) / sigma)
    assert np.abs(beside).max() < 0.75
    assert along.min() > -0.75
    assert abs(along.max() - 2 * radius) < 0.75
    assert np.isclose(trace.sum(), 1, atol=1e-6)
    assert np.isclose(trace[50, 50], half[0] / half.sum(), atol=1e-6)
    mean = (half * np.arange(2 * radius + 1)).sum() / half.sum()
    assert abs((trace[np.nonzero(trace)] * along).sum() - mean) < 0.2


@pytest.mark.parametrize("constants", MOTION)
@pytest.mark.parametrize("degrees", [-45.0, 13.0, -100.0])
def test_smear_agrees_with_opencv(photo: Pixels, constants: tuple[int, float], degrees: float) -> None:
    image = _floats(photo)
    expected = _opencv_smear(image, *constants, degrees)
    assert np.allclose(blur.smear(image, *constants, degrees), expected, atol=1e-5)


def _opencv_smear(image: Floats, radius: int, sigma: float, degrees: float) -> Floats:
    steps = np.arange(2 * radius + 1)
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    down, right = (np.rint(steps * f(np.radians(degrees))).astype(int) for f in (np.sin, np.cos))
    np.add.at(kernel, (2 * radius + down, 2 * radius + right), stats.norm.pdf(steps / sigma))
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE))


@pytest.mark.parametrize(("severity", "constants"), _by_severity(MOTION))
def test_motion_blur_smears_by_a_random_angle(severity: int, constants: tuple[int, float]) -> None:
    image = _flat(0)
    image[100:103, 100:103] = 255
    angles = []
    for seed in range(25):
        result = corrupt(image, "motion_blur", severity, seed)
        down, across = np.nonzero(result[:, :, 0])
        weight = result[:, :, 0][down, across].astype(float)
        angles.append(np.degrees(np.arctan2(101 - np.average(down, 0, weight), 101 - np.average(across, 0, weight))))
    assert -48 < min(angles) < -30
    assert 30 < max(angles) < 48
    moves = np.random.default_rng(1), np.random.default_rng(1)
    result = blur.motion_blur(_floats(image), severity, moves[0])
    expected = _opencv_smear(_floats(image), *constants, moves[1].uniform(-45, 45))
    assert np.allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.07, 1.1, 1.15, 1.2, 1.24, 1.3, 2, 2.5, 3, 4, 4.5])
def test_enlarge_agrees_with_scipys_zoom(photo: Pixels, factor: float) -> None:
    assert np.allclose(blur.enlarge(_floats(photo), factor), _scipy_enlarge(_floats(photo), factor), atol=1e-4)


def _scipy_enlarge(image: Floats, factor: float) -> Floats:
    crop = int(np.ceil(SIDE / factor))
    top = (SIDE - crop) // 2
    large = ndimage.zoom(image[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (large.shape[0] - SIDE) // 2
    return np.asarray(large[trim : trim + SIDE, trim : trim + SIDE])


@pytest.mark.parametrize(
    ("severity", "factors"),
    _by_severity([(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]),
)
def test_zoom_blur_is_the_mean_of_the_image_and_its_enlargements(
    photo: Pixels, severity: int, factors: tuple[float, float]
) -> None:
    image = _floats(photo)
    layers = [image, *(_scipy_enlarge(image, factor) for factor in np.arange(1, *factors))]
    assert len(layers) == [13, 17, 12, 14, 12][severity - 1]  # np.arange includes 1.11 because of rounding
    _assert_cut_off(corrupt(photo, "zoom_blur", severity, 0), np.mean(layers, axis=0))


# Weather


SNOW = [
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
]


@pytest.mark.parametrize(("severity", "constants"), _by_severity(SNOW))
def test_snow_whitens_the_image_and_is_point_symmetric(severity: int, constants: tuple[float, ...]) -> None:
    share, level = constants[-1], 51
    result = corrupt(_flat(level), "snow", severity, 0)
    between = share * level / 255 + (1 - share) * (1.5 * level / 255 + 0.5)  # pixels without a flake
    assert result.min() == int(between * 255)
    assert np.abs(result.astype(int) - np.rot90(result, 2)).max() <= 1
    assert (result[:, :, 0] == result[:, :, 2]).all()
    steps = [np.abs(np.diff(result[:, :, 0].astype(int), axis=axis)).mean() for axis in range(2)]
    assert steps[0] < steps[1]  # smoother in the direction of the fall


def test_snow_keeps_pixels_that_are_already_brighter_than_its_whitening() -> None:
    image = _flat(0)
    image[:, :, 0] = 250  # luma 0.29: whitened to at most 0.94
    result = corrupt(image, "snow", 1, 0)
    assert result[:, :, 0].min() == 250
    assert result[:, :, 1].min() == int(255 * 0.2 * (1.5 * 0.299 * 250 / 255 + 0.5))


@pytest.mark.parametrize(("severity", "constants"), _by_severity(SNOW))
def test_snow_agrees_with_scipy_and_opencv(photo: Pixels, severity: int, constants: tuple[float, ...]) -> None:
    mean, deviation, enlargement, threshold, radius, sigma, share = constants
    draws, image = np.random.default_rng(3), _floats(photo)
    flakes = draws.normal(mean, deviation, (SIDE, SIDE)).astype(np.float32)
    flakes = _scipy_enlarge(flakes[:, :, None], enlargement)[:, :, 0]
    flakes = _opencv_smear(
        np.where(flakes >= threshold, flakes.clip(0, 1), 0), int(radius), sigma, draws.uniform(-135, -45)
    )
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    covered = share * image + (1 - share) * np.maximum(image, grey * 1.5 + 0.5)
    expected = covered + (flakes + flakes[::-1, ::-1])[:, :, None]
    result = weather.snow(image, severity, np.random.default_rng(3))
    assert np.isclose(result, expected, atol=1e-4).mean() > 0.999  # a flake at the threshold may round to either side


@pytest.mark.parametrize(
    ("severity", "shares"), _by_severity([(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)])
)
def test_frost_adds_ice_to_the_dimmed_image(severity: int, shares: tuple[float, float]) -> None:
    own, ice = shares
    on_black, on_grey = (corrupt(_flat(level), "frost", severity, 0).astype(int) for level in (0, 60))
    assert on_grey.max() < 255
    assert np.abs(on_grey - on_black - own * 60).max() <= 1
    black, texture = (np.random.default_rng(4) for _ in range(2))
    result = weather.frost(_floats(_flat(0)), severity, black)
    assert np.allclose(result, ice * weather.frost_texture(SIDE, texture), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_ice_is_bright_and_bluish(seed: int) -> None:
    texture = weather.frost_texture(SIDE, np.random.default_rng(seed))
    assert texture.shape == (SIDE, SIDE, 3)
    assert 0 <= texture.min() < texture.max() <= 1
    assert texture.std(axis=(0, 1)).min() > 0.05
    assert (np.diff(texture, axis=2) > 0).all()


FOG = [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)]


@pytest.mark.parametrize(("severity", "constants"), _by_severity(FOG))
def test_fog_adds_plasma_and_keeps_the_brightest_value(
    photo: Pixels, severity: int, constants: tuple[float, float]
) -> None:
    thickness, decay = constants
    image = _floats(photo) * np.float32(0.8)
    cloud = weather.plasma(decay, np.random.default_rng(6))[:SIDE, :SIDE, None]
    expected = (image + thickness * cloud) * image.max() / (image.max() + thickness)
    assert np.allclose(weather.fog(image, severity, np.random.default_rng(6)), expected, atol=1e-5)


@pytest.mark.parametrize(("severity", "thickness"), _by_severity([1.5, 2.0, 2.5, 2.5, 3.0]))
def test_fog_of_a_white_image_has_the_plasmas_range(severity: int, thickness: float) -> None:
    results = [corrupt(_flat(255), "fog", severity, seed) for seed in range(8)]
    assert min(result.min() for result in results) == int(255 / (1 + thickness))
    assert max(result.max() for result in results) == 255


def test_fog_of_a_black_image_is_black() -> None:
    assert not corrupt(_flat(0), "fog", 5, 0).any()


def test_plasma_covers_its_range_and_faster_decay_makes_it_smoother() -> None:
    roughness = []
    for decay in (1.4, 1.5, 1.7, 2.0, 3.0):
        planes = [weather.plasma(decay, np.random.default_rng(seed)) for seed in range(4)]
        assert [(plane.shape, plane.min(), plane.max()) for plane in planes] == [((256, 256), 0, 1)] * 4
        roughness.append(np.mean([np.abs(np.diff(plane, axis=axis)).mean() for plane in planes for axis in (0, 1)]))
    assert roughness == sorted(roughness, reverse=True)
    assert roughness[0] > 2 * roughness[-1]


def test_plasma_agrees_with_the_algorithm_point_by_point() -> None:
    """Compare with diamond-square: each new point is the mean of four older ones plus noise of its scale, squared."""
    draws, side = np.random.default_rng(8), 256
    plane = {(0, 0): 0.0}

    def add(row: int, column: int, reach: int, across: bool, moved: float) -> None:
        around = ((-1, 0), (1, 0), (0, -1), (0, 1)) if across else ((-1, -1), (-1, 1), (1, -1), (1, 1))
        older = (plane[(row + reach * down) % side, (column + reach * right) % side] for down, right in around)
        plane[row, column] = sum(older) / 4 + moved

    wobble, step = 100.0, side
    while step > 1:
        half = step // 2
        for down, right, across in ((half, half, False), (0, half, True), (half, 0, True)):
            moves = iter((wobble * draws.uniform(-wobble, wobble, (side // step) ** 2)).tolist())
            for row in range(down, side, step):
                for column in range(right, side, step):
                    add(row, column, half, across, next(moves))
        step, wobble = half, wobble / 1.7
    points = np.array([[plane[row, column] for column in range(side)] for row in range(side)])
    expected = (points - points.min()) / np.ptp(points)
    assert np.allclose(weather.plasma(1.7, np.random.default_rng(8)), expected, atol=1e-9)


@pytest.mark.parametrize(("severity", "more"), _by_severity([0.1, 0.2, 0.3, 0.4, 0.5]))
def test_brightness_raises_only_the_hsv_value(generator: np.random.Generator, severity: int, more: float) -> None:
    image = generator.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    image[0, 0], image[0, 1], image[0, 2], image[0, 3] = (0, 0, 0), (255, 255, 255), (90, 90, 90), (0, 0, 9)
    image[1] = np.arange(SIDE)[:, None] // (1, 2, 4)  # dark pixels
    expected = []
    for pixel in (image[:12].reshape(-1, 3) / 255).tolist():
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected.append(colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1)))
    result = corrupt(image, "brightness", severity, 0)[:12].reshape(-1, 3)
    _assert_cut_off(result, np.array(expected))


# Digital


@pytest.mark.parametrize(("severity", "share"), _by_severity([0.4, 0.3, 0.2, 0.1, 0.05]))
def test_contrast_shrinks_each_channels_deviation_from_its_mean(photo: Pixels, severity: int, share: float) -> None:
    image = _floats(photo)
    changed = digital.contrast(image, severity, np.random.default_rng(0)).astype(np.float64)
    assert np.allclose(changed.mean(axis=(0, 1)), image.mean(axis=(0, 1), dtype=np.float64), atol=1e-5)
    assert np.allclose(changed.std(axis=(0, 1)), share * image.std(axis=(0, 1), dtype=np.float64), rtol=1e-3)
    means = (photo / 255.0).mean(axis=(0, 1))
    _assert_cut_off(corrupt(photo, "contrast", severity, 0), means + share * (photo / 255.0 - means))


ELASTIC = [
    (488.0, 170.8, 24.4),
    (488.0, 19.52, 48.8),
    (12.2, 2.44, 4.88),
    (17.08, 2.44, 4.88),
    (29.28, 2.44, 4.88),
]


@pytest.mark.parametrize(("severity", "constants"), _by_severity(ELASTIC))
def test_elastic_transform_agrees_with_opencv(severity: int, constants: tuple[float, float, float]) -> None:
    length, smoothing, jitter = constants
    draws, image = np.random.default_rng(9), _floats(_smooth())
    centre, reach = SIDE // 2, SIDE // 3
    points = np.array(
        [(centre + reach, centre + reach), (centre + reach, centre - reach), (centre - reach, centre - reach)],
        np.float32,
    )
    moved = (points + draws.uniform(-jitter, jitter, (3, 2))).astype(np.float32)
    image = cv2.warpAffine(
        image, cv2.getAffineTransform(points, moved), (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101
    )
    right, down = (
        length * ndimage.gaussian_filter(plane, smoothing, mode="reflect", truncate=3)
        for plane in draws.uniform(-1, 1, (2, SIDE, SIDE))
    )
    rows, columns = np.indices((SIDE, SIDE))
    expected = cv2.remap(
        image,
        (columns + right).astype(np.float32),
        (rows + down).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    result = digital.elastic_transform(_floats(_smooth()), severity, np.random.default_rng(9))
    assert np.allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize(("length", "smoothing"), [(12.2, 2.44), (29.28, 2.44), (488.0, 19.52)])
def test_displacements_are_smoothed_uniform_noise(length: float, smoothing: float) -> None:
    moves = digital.displacements(SIDE, length, smoothing, np.random.default_rng(1))
    uniform = np.random.default_rng(1).uniform(-1, 1, (2, SIDE, SIDE))
    points = 2 * int(3 * smoothing + 0.5) + 1
    expected = [
        length * cv2.GaussianBlur(plane, (points, points), smoothing, borderType=cv2.BORDER_REFLECT)
        for plane in uniform
    ]
    assert np.allclose(moves, expected, atol=1e-3)
    # White noise of variance 1/3, smoothed by a Gaussian: its deviation and the correlation of neighbours.
    assert np.isclose(moves.std(), length / np.sqrt(3) / (2 * np.sqrt(np.pi) * smoothing), rtol=0.25)
    neighbours = np.corrcoef(moves[:, :, 1:].ravel(), moves[:, :, :-1].ravel())[0, 1]
    assert np.isclose(neighbours, np.exp(-1 / (4 * smoothing**2)), atol=0.005)
    assert abs(np.corrcoef(moves[0].ravel(), moves[1].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(("severity", "block"), [(2, 2), (5, 4)])
def test_pixelate_is_the_mean_of_each_block(photo: Pixels, severity: int, block: int) -> None:
    small = SIDE // block
    means = photo.reshape(small, block, small, block, 3).mean(axis=(1, 3))
    expected = means.repeat(block, axis=0).repeat(block, axis=1)
    result = corrupt(photo, "pixelate", severity, 0)
    assert np.abs(result - expected).max() <= 1  # Pillow rounds once per axis
    assert np.abs(result - expected).mean() < 0.5


@pytest.mark.parametrize(("severity", "small"), _by_severity([134, 112, 89, 67, 56]))
def test_pixelate_leaves_the_rows_and_columns_of_the_small_image(photo: Pixels, severity: int, small: int) -> None:
    result = corrupt(photo, "pixelate", severity, 0).astype(int)
    assert 1 + np.diff(result, axis=0).any(axis=(1, 2)).sum() == small
    assert 1 + np.diff(result, axis=1).any(axis=(0, 2)).sum() == small


@pytest.mark.parametrize(("severity", "quality"), _by_severity([25, 18, 15, 10, 7]))
def test_jpeg_compression_is_the_one_of_pillow(photo: Pixels, severity: int, quality: int) -> None:
    buffer = BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    assert np.array_equal(corrupt(photo, "jpeg_compression", severity, 0), np.asarray(Image.open(buffer)))


def test_every_corruption_has_the_papers_five_severities() -> None:
    assert SEVERITIES == (1, 2, 3, 4, 5)
