import numpy as np
import pytest
from PIL import Image

from driftserve.archive.contract import ImageSpec
from driftserve.images.preprocess import preprocess


def test_shape_and_dtype_do_not_depend_on_the_image_sizes(generator: np.random.Generator, spec: ImageSpec) -> None:
    sizes = [(48, 64), (64, 48), (1, 1), (5, 500), (32, 32)]
    batch = preprocess([generator.integers(0, 255, (*size, 3)).astype(np.uint8) for size in sizes], spec)
    assert batch.shape == (5, 3, 32, 32)
    assert batch.dtype == np.uint8


def test_an_image_that_already_has_the_resized_size_is_only_cropped(generator: np.random.Generator) -> None:
    spec = ImageSpec(height=32, width=32, resize_shorter_side=36, interpolation="bilinear")
    image = generator.integers(0, 255, (36, 36, 3)).astype(np.uint8)
    assert np.array_equal(preprocess([image], spec)[0], image[2:34, 2:34].transpose(2, 0, 1))


@pytest.mark.parametrize("side", [224, 240, 299])
def test_a_crop_of_the_whole_shorter_side_stays_inside_the_image(side: int) -> None:
    """For a 29-pixel side and size 224, rounding gives a box that starts at -1.8e-15, which Pillow would refuse."""
    spec = ImageSpec(height=side, width=side, resize_shorter_side=side, interpolation="nearest")
    for length in range(1, 400):
        preprocess([np.zeros((length, length + 3, 3), np.uint8)], spec)


@pytest.mark.parametrize("size", [(150, 150), (120, 90), (300, 420)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_preprocessing_agrees_with_timms_evaluation_transform(
    generator: np.random.Generator, size: tuple[int, int], interpolation: str
) -> None:
    """We resample the crop once; timm resizes to whole pixels and then crops. The results are nearly equal."""
    from timm.data import create_transform

    import driftserve_training  # noqa: F401  makes torchvision importable

    spec = ImageSpec(height=64, width=64, resize_shorter_side=72, interpolation=interpolation)
    smooth = Image.fromarray(generator.integers(0, 255, (9, 9, 3)).astype(np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    transform = create_transform(
        (3, 64, 64), interpolation=interpolation, crop_pct=64 / 72, mean=(0, 0, 0), std=(1, 1, 1)
    )
    theirs = transform(smooth).numpy() * 255
    ours = preprocess([np.asarray(smooth)], spec)[0].astype(float)
    assert np.abs(ours - theirs).mean() < 2.0
