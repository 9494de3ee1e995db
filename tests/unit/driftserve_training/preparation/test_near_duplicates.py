import csv
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from driftserve.errors import DataError
from driftserve.images.decode import decode
from driftserve_training.__main__ import main
from driftserve_training.dataset.manifest import scan
from driftserve_training.preparation.candidate import Candidate
from driftserve_training.preparation.near_duplicates import MOST_DISTANCE, find_near_duplicates
from driftserve_training.preparation.perceptual_hash import perceptual_hash
from driftserve_training.preparation.preparation import PreparationRules, prepare
from image_folders import listing, write_images

SPLITS = ("test", "val", "stream", "train")  # each takes precedence over later ones


def _picture(seed: int) -> Image.Image:
    """Return blurred noise, 120x90. Like in a photo, coarse structures have the most contrast."""
    generator = np.random.default_rng(seed)
    picture = Image.new("RGB", (120, 90))
    for side, weight in ((4, 1.0), (12, 0.4), (60, 0.2)):
        noise = Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8))
        picture = Image.blend(picture, noise.resize(picture.size, Image.Resampling.BICUBIC), weight)
    return picture


def _recompressed(picture: Image.Image) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


DISTORTED = {
    "compressed": _recompressed,
    "smaller": lambda picture: picture.resize((84, 63), Image.Resampling.BICUBIC),
    "brighter": lambda picture: picture.point(lambda value: min(255, round(1.1 * value))),
    "darker": lambda picture: picture.point(lambda value: round(0.9 * value)),
    "cropped": lambda picture: picture.crop((1, 1, 119, 89)),
}


def _bits(picture: Image.Image) -> int:
    bits = perceptual_hash(np.asarray(picture))
    assert bits is not None
    return bits


def _distance(one: Image.Image, other: Image.Image) -> int:
    return (_bits(one) ^ _bits(other)).bit_count()


def _candidates(split: str, hashes: Sequence[int | None]) -> list[Candidate]:
    return [
        Candidate(Path("unread"), f"{split}/{number:05}", split, "sea", "", None, "unread", bits)
        for number, bits in enumerate(hashes)
    ]


def test_the_hash_follows_the_definition_of_the_cosine_transform() -> None:
    """The image is grey and already has the thumbnail's size, so that only the transform is applied."""
    grey = np.random.default_rng(3).integers(0, 256, (32, 32), np.uint8)
    frequency, pixel = np.arange(1, 9)[:, None], np.arange(32)[None]
    cosines = np.cos(np.pi * frequency * (2 * pixel + 1) / 64)
    coefficients = (cosines @ grey.astype(float) @ cosines.T).ravel()
    expected = sum(1 << 63 - place for place in np.argsort(coefficients)[32:].tolist())
    assert perceptual_hash(np.stack([grey] * 3, axis=-1)) == expected


@pytest.mark.parametrize("name", DISTORTED)
def test_a_distorted_copy_is_a_near_duplicate_and_other_pictures_are_not(name: str) -> None:
    pictures = [_picture(seed) for seed in range(12)]
    for place, picture in enumerate(pictures):
        copy = DISTORTED[name](picture)
        assert _distance(picture, copy) <= MOST_DISTANCE
        assert all(_distance(other, copy) > MOST_DISTANCE for other in pictures[:place] + pictures[place + 1 :])


def test_a_mirrored_copy_is_not_a_near_duplicate() -> None:
    picture = _picture(0)
    assert _distance(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > MOST_DISTANCE


@pytest.mark.parametrize("level", [0, 90])
def test_an_image_without_contrast_has_no_hash(level: int) -> None:
    noise = np.random.default_rng(level).integers(0, 7, (64, 64, 3), np.uint8)
    assert perceptual_hash(noise + np.uint8(level)) is None
    assert find_near_duplicates([*_candidates("train", [None, None]), *_candidates("test", [None])]) == ()


def test_near_duplicates_agree_with_a_comparison_of_all_pairs() -> None:
    """There are enough images for several blocks. Every third is a copy of a test image with 0 to 15 bits changed."""
    generator = np.random.default_rng(8)
    test = generator.integers(0, 2, (1500, 64))
    train = generator.integers(0, 2, (3000, 64))
    for place in range(0, 3000, 3):
        train[place] = test[place // 2]
        train[place, generator.permutation(64)[: place % 16]] ^= 1
    distances = (train @ (1 - test).T) + ((1 - train) @ test.T)
    expected = [
        (f"train/{place:05}", f"test/{row.argmin():05}", row.min())
        for place, row in enumerate(distances)
        if row.min() <= MOST_DISTANCE
    ]
    found = find_near_duplicates([*_candidates("train", _packed(train)), *_candidates("test", _packed(test))])
    assert [(near.path, near.other_path, near.distance) for near in found] == expected
    assert {near.distance for near in found} == set(range(MOST_DISTANCE + 1))


def _packed(bits: npt.NDArray[np.int64]) -> list[int]:
    return [int("".join(map(str, row)), 2) for row in bits.tolist()]


def test_an_image_is_compared_only_with_splits_that_take_precedence() -> None:
    candidates = [one for split in reversed(SPLITS) for one in _candidates(split, [5, 5])]
    found = find_near_duplicates(candidates)
    assert [(near.path, near.split, near.other_path, near.other_split) for near in found] == [
        (f"{split}/{number:05}", split, "test/00000", "test")
        for split in ("stream", "train", "val")
        for number in range(2)
    ]


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """Two classes of noise; train has distorted copies of a test picture and of a val picture."""
    folder = write_images(
        tmp_path / "fetched",
        {f"seg_{split}/{label}": 2 for split in ("train", "val", "test") for label in ("sea", "ice")},
    )
    for number, split in enumerate(("test", "val")):
        _picture(number).save(folder / f"seg_{split}" / "sea" / f"picture-{number}.png")
        _recompressed(_picture(number)).save(folder / "seg_train" / "sea" / f"copy-{number}.png")
    return folder


def test_near_duplicates_are_listed_and_kept_by_default(fetched: Path, tmp_path: Path) -> None:
    prepared = prepare(fetched, tmp_path / "out")
    assert (prepared.near_duplicates, prepared.rejected, prepared.images["train"]["sea"]) == (2, 0, 4)
    with (tmp_path / "out" / "near_duplicates.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "split", "other_path", "other_split", "distance"]
    assert [row[:4] for row in rows[1:]] == [
        ["seg_train/sea/copy-0.png", "train", "seg_test/sea/picture-0.png", "test"],
        ["seg_train/sea/copy-1.png", "train", "seg_val/sea/picture-1.png", "val"],
    ]
    assert [int(row[4]) for row in rows[1:]] == [
        _distance(_picture(number), _recompressed(_picture(number))) for number in range(2)
    ]


def test_dropped_near_duplicates_are_in_no_split_and_listed_as_rejected(fetched: Path, tmp_path: Path) -> None:
    rules = PreparationRules(near_duplicates="drop")
    prepared = prepare(fetched, tmp_path / "out", rules)
    assert (prepared.near_duplicates, prepared.rejected) == (2, 2)
    names = listing(tmp_path / "out")
    assert not any("copy" in name for name in names)
    assert {"test/sea/picture-0.png", "val/sea/picture-1.png"} < set(names)
    assert "seg_train/sea/copy-0.png,nearly the same picture as seg_test/sea/picture-0.png in test" in (
        (tmp_path / "out" / "rejected.csv").read_text().splitlines()
    )
    assert scan(tmp_path / "out").sha256 == prepared.manifest_sha256
    assert prepare(fetched, tmp_path / "out", rules).is_unchanged


def test_the_error_names_a_class_that_becomes_empty_when_copies_are_dropped(fetched: Path, tmp_path: Path) -> None:
    for path in (fetched / "seg_train" / "sea").iterdir():
        path.unlink()
    _recompressed(_picture(0)).save(fetched / "seg_train" / "sea" / "copy-0.png")
    with pytest.raises(DataError, match=r"got no sea in train"):
        prepare(fetched, tmp_path / "out", PreparationRules(near_duplicates="drop"))


def test_copies_that_the_validation_split_separates_are_found(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", {"seg_train/ice": 8, "seg_test/ice": 1, "seg_test/sea": 1})
    (source / "seg_train" / "sea").mkdir()
    for number in range(8):
        _picture(number).save(source / "seg_train" / "sea" / f"{number}-a.png")
        _recompressed(_picture(number)).save(source / "seg_train" / "sea" / f"{number}-b.png")
    prepared = prepare(source, tmp_path / "out", PreparationRules(val_fraction=0.4))
    split = {Path(name).stem: name.split("/")[0] for name in listing(tmp_path / "out") if "/sea/" in name}
    parted = sum(split[f"{number}-a"] != split[f"{number}-b"] for number in range(8))
    assert prepared.near_duplicates == parted > 0


def test_the_command_lists_drops_or_refuses_near_duplicates(
    fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["preprocess", "--data", str(fetched), "--output"]
    assert main([*command, str(tmp_path / "refused"), "--near-duplicates", "refuse"]) == 2
    assert not (tmp_path / "refused").exists()
    said = capsys.readouterr().err.splitlines()[-1]
    assert "got 2: seg_train/sea/copy-0.png (nearly the same picture as seg_test" in said
    assert main([*command, str(tmp_path / "listed")]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert main([*command, str(tmp_path / "dropped"), "--near-duplicates", "drop"]) == 0
    dropped = json.loads(capsys.readouterr().out)
    assert (listed["near_duplicates"], listed["images"]["train"]["sea"]) == (2, 4)
    assert (dropped["near_duplicates"], dropped["images"]["train"]["sea"]) == (2, 2)


def test_a_real_near_duplicate_is_found(intel: Path) -> None:
    """Two files of the same photo, in train and in test. All pixels differ, by 9 grey levels on average."""
    one, other, unlike = (
        perceptual_hash(decode((intel / name).read_bytes()))
        for name in ("train/forest/5219.jpg", "test/forest/20938.jpg", "test/forest/21126.jpg")
    )
    assert one is not None
    assert other is not None
    assert unlike is not None
    assert (one ^ other).bit_count() <= MOST_DISTANCE < (one ^ unlike).bit_count()
