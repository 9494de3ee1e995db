from pathlib import Path

import albumentations as A  # noqa: N812
import numpy as np
import pytest

from driftserve.errors import DataError
from driftserve_training.dataset.augmentation import build_augmentation
from driftserve_training.dataset.order import Draw, EpochOrder, seed_of
from driftserve_training.ranks import Ranks


@pytest.fixture
def image(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 255, (50, 70, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["light", "realistic"])
def test_augmentation_keeps_size_and_type_and_depends_only_on_the_seed(name: str, image: np.ndarray) -> None:
    first, second = build_augmentation(name), build_augmentation(name)
    assert first is not None
    assert second is not None
    changed = {seed: first(image, seed) for seed in range(40)}
    assert all(other.shape == image.shape and other.dtype == np.uint8 for other in changed.values())
    assert all(np.array_equal(changed[seed], second(image, seed)) for seed in (7, 3, 39))  # in any order of calls
    assert len({other.tobytes() for other in changed.values()}) > 30


def test_the_name_none_means_no_augmentation() -> None:
    assert build_augmentation("none") is None


def test_a_custom_pipeline_is_read_from_json(image: np.ndarray, tmp_path: Path) -> None:
    A.save(A.Compose([A.VerticalFlip(p=1.0)]), tmp_path / "own.json", data_format="json")
    augment = build_augmentation(str(tmp_path / "own.json"))
    assert augment is not None
    assert np.array_equal(augment(image, 1), image[::-1])


@pytest.mark.parametrize(
    ("old", "new", "unknown"),
    [
        ('"std_range"', '"var_limit"', r"arguments that .* has, got GaussNoise\.var_limit;"),
        ('"per_channel"', '"by_channel"', r"arguments that .* has, got GaussNoise\.by_channel;"),
        ('"is_check_shapes"', '"check_shapes"', r"Compose.* 'check_shapes'"),
        ('"transforms": [{', '"transforms": [{"always_apply": true, ', r"OneOf.* 'always_apply'"),
    ],
)
def test_an_argument_that_this_albumentations_does_not_have_is_refused_by_name(
    tmp_path: Path, old: str, new: str, unknown: str
) -> None:
    file = tmp_path / "own.json"
    A.save(A.Compose([A.OneOf([A.GaussNoise(std_range=(0.03, 0.2))])]), file, data_format="json")
    assert build_augmentation(str(file)) is not None
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"own\.json: .*{unknown}"):
        build_augmentation(str(file))


def test_a_pipeline_that_does_not_return_an_image_is_refused(tmp_path: Path) -> None:
    A.save(A.Compose([A.Normalize()]), tmp_path / "own.json", data_format="json")
    with pytest.raises(
        DataError, match=r"expected a pipeline that returns \(H, W, 3\) uint8, got \(64, 64, 3\) float32"
    ):
        build_augmentation(str(tmp_path / "own.json"))


def test_different_seeds_and_epochs_give_different_orders() -> None:
    orders = {}
    for seed in (0, 1):
        order = EpochOrder(range(30), Ranks(), seed)
        for epoch in range(3):
            order.set_epoch(epoch)
            orders[seed, epoch] = tuple(draw.index for draw in order)
    assert len(set(orders.values())) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"augmentation: expected none, light, realistic, or a file .*, got .*own\.json"),
        ("{", r"own\.json: cannot load it as a pipeline of albumentations\.save"),
        ('{"transform": {"__class_fullname__": "os.system"}}', r"own\.json: cannot load it as a pipeline of albument"),
    ],
)
def test_an_invalid_pipeline_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "own.json").write_text(text)
    with pytest.raises(DataError, match=message):
        build_augmentation(str(tmp_path / "own.json"))


def test_processes_share_an_epoch_without_overlap_and_epochs_differ() -> None:
    shares = [EpochOrder(range(10), Ranks(rank, 2, 2), seed=3) for rank in (0, 1)]
    first = [list(share) for share in shares]
    assert sorted(draw.index for share in first for draw in share) == list(range(10))
    for share in shares:
        share.set_epoch(1)
    second = list(shares[0])
    assert {draw.epoch for draw in second} == {1}
    assert [draw.index for draw in second] != [draw.index for draw in first[0]]


def test_every_draw_has_its_own_seed() -> None:
    seeds = {seed_of(seed, Draw(epoch, index)) for seed in (0, 1) for epoch in range(3) for index in range(50)}
    assert len(seeds) == 300
    assert max(seeds) < 2**32
