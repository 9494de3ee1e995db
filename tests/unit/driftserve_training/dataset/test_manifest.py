import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from driftserve.archive.contract import MOST_LABELS
from driftserve.errors import DataError
from driftserve_demo.synthetic import write_dataset
from driftserve_training.dataset.manifest import scan, write_manifest
from image_folders import add_companions, write_coloured
from sample_images import encode, scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path, {"train": 3, "val": 2, "test": 2}, seed=1)
    return tmp_path


def test_every_image_is_listed_with_split_label_and_digest(folder: Path, tmp_path: Path) -> None:
    manifest = scan(folder)
    assert len(manifest.entries) == 6 * (3 + 2 + 2)
    assert manifest.labels == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert [entry.path for entry in manifest.split("val")][:2] == ["val/buildings/0000.jpg", "val/buildings/0001.jpg"]
    write_manifest(manifest, tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["split"] == "train"
    assert len(rows[0]["sha256"]) == 64


def test_the_digest_depends_on_the_images(folder: Path) -> None:
    before = scan(folder).sha256
    assert scan(folder).sha256 == before
    (folder / "test" / "sea" / "0000.jpg").unlink()
    assert scan(folder).sha256 != before


def test_the_error_for_corrupt_images_names_the_files(folder: Path) -> None:
    broken = folder / "val" / "sea" / "0001.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    (folder / "train" / "forest" / "0002.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"train/forest/0002\.jpg .*val/sea/0001\.jpg"):
        scan(folder)


def test_the_error_for_an_image_in_two_splits_names_the_files(folder: Path) -> None:
    shutil.copyfile(folder / "train" / "sea" / "0001.jpg", folder / "test" / "street" / "copy.jpg")
    with pytest.raises(DataError, match=r"train/sea/0001\.jpg = test/street/copy\.jpg"):
        scan(folder)


def test_files_and_folders_whose_names_begin_with_a_dot_are_neither_images_nor_classes(folder: Path) -> None:
    before = scan(folder)
    add_companions(folder)
    assert scan(folder) == before


def test_duplicates_within_one_split_are_allowed(folder: Path) -> None:
    shutil.copyfile(folder / "train" / "sea" / "0001.jpg", folder / "train" / "sea" / "copy.jpg")
    scan(folder)


def test_the_error_for_a_missing_split_names_it(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    with pytest.raises(DataError, match=r"expected images as val/<class>/<image>\.jpg, got none"):
        scan(folder)


@pytest.mark.parametrize(("first", "second"), [(":cat", "cat"), ("cat", "cat "), ("a\tb", "a b")])
def test_classes_that_cloudwatch_cannot_tell_apart_are_refused(tmp_path: Path, first: str, second: str) -> None:
    write_coloured(tmp_path / "fetched/train", 3, seed=1)
    (tmp_path / "fetched/train/red").rename(tmp_path / "fetched/train" / first)
    (tmp_path / "fetched/train/blue").rename(tmp_path / "fetched/train" / second)
    with pytest.raises(DataError, match=r"expected classes that CloudWatch can tell apart, got .* and .*; rename one"):
        scan(tmp_path / "fetched", ("train",))


def test_splits_with_different_classes_are_refused(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "sea")
    with pytest.raises(DataError, match=r"expected the classes .* in test/, got"):
        scan(folder)


def test_a_folder_must_match_the_manifest_in_it(folder: Path) -> None:
    write_manifest(scan(folder), folder / "manifest.csv")
    assert scan(folder, ("train", "val")).split("test") == ()  # a subset of the splits matches, too
    changed = folder / "val" / "sea" / "0001.jpg"
    changed.write_bytes(encode(scene(np.random.default_rng(8)), "JPEG"))
    with pytest.raises(DataError, match=r"expected the images that it lists, got changes in val/sea/0001.jpg; run"):
        scan(folder)
    changed.unlink()
    with pytest.raises(DataError, match=r"expected the images that it lists, got changes in val/sea/0001\.jpg"):
        scan(folder, ("train", "val"))


def test_more_classes_than_a_reference_has_room_for_are_refused_before_training(tmp_path: Path) -> None:
    image = encode(scene(np.random.default_rng(8)))
    for number in range(MOST_LABELS + 1):
        (tmp_path / "train" / str(number)).mkdir(parents=True)
        (tmp_path / "train" / str(number) / "0.png").write_bytes(image)
    with pytest.raises(DataError, match=rf"expected at most {MOST_LABELS} classes, .* got {MOST_LABELS + 1}; merge"):
        scan(tmp_path, ("train",))


def test_a_manifest_in_another_format_is_ignored(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,label,sha256\ntrain/sea/0000.jpg,sea,0\n")
    assert len(scan(folder).entries) == 6 * 7


def test_a_manifest_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"path,split,label,sha256\ntrain/caf\xe9/0.jpg")
    with pytest.raises(DataError, match=r"manifest\.csv: expected .* `preprocess` writes.*'utf-8' codec"):
        scan(folder)
