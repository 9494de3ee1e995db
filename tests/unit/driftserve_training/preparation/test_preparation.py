import csv
import json
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from driftserve.errors import DataError
from driftserve_training.__main__ import main
from driftserve_training.dataset.manifest import scan
from driftserve_training.preparation.preparation import PreparationRules, prepare
from driftserve_training.preparation.validation import validation_share
from driftserve_training.sources.source import fetch
from image_folders import listing, png, write_images

DROP = PreparationRules(drop=True)


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """Two classes, each with 6 training, 2 validation and 2 test images."""
    return write_images(
        tmp_path / "fetched",
        {f"seg_{split}/{label}": n for split, n in (("train", 6), ("val", 2), ("test", 2)) for label in ("sea", "ice")},
    )


def _rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_scan_reads_the_prepared_images_with_the_same_digest(fetched: Path, tmp_path: Path) -> None:
    write_images(fetched, {"stream/sea": 1, "stream/ice": 1, "seg_pred": 1}, seed=100)
    prepared = prepare(fetched, tmp_path / "out")
    assert prepared.images == {
        "train": {"ice": 6, "sea": 6},
        "val": {"ice": 2, "sea": 2},
        "test": {"ice": 2, "sea": 2},
        "stream": {"ice": 1, "sea": 1},
    }
    manifest = scan(tmp_path / "out", ("train", "val", "test", "stream"))
    assert prepared.manifest_sha256 == manifest.sha256
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["split"], row["label"], row["sha256"]) for row in rows] == [
        (entry.path, entry.split, entry.label, entry.sha256) for entry in manifest.entries
    ]
    assert stat.S_IMODE((tmp_path / "out" / "manifest.csv").stat().st_mode) == 0o444


def test_preparing_again_leaves_the_folder_unchanged(fetched: Path, tmp_path: Path) -> None:
    first = prepare(fetched, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.csv").stat()
    again = prepare(fetched, tmp_path / "out")
    assert (first.is_unchanged, again.is_unchanged) == (False, True)
    assert again.manifest_sha256 == first.manifest_sha256
    after = (tmp_path / "out" / "manifest.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetched", "out"]


def test_a_different_result_does_not_replace_a_prepared_folder(fetched: Path, tmp_path: Path) -> None:
    prepare(fetched, tmp_path / "out")
    before = listing(tmp_path / "out")
    (fetched / "seg_train" / "sea" / "new.png").write_bytes(png(500))
    with pytest.raises(DataError, match=r"a prepared data set never changes, so choose another folder"):
        prepare(fetched, tmp_path / "out")
    assert listing(tmp_path / "out") == before


def test_a_modified_prepared_folder_is_refused(fetched: Path, tmp_path: Path) -> None:
    prepare(fetched, tmp_path / "out")
    (tmp_path / "out" / "val" / "sea" / "12.png").unlink()
    with pytest.raises(DataError, match=r"val/sea/12\.png: expected the image that manifest\.csv lists"):
        prepare(fetched, tmp_path / "out")


def test_a_folder_with_other_files_is_not_written_to(fetched: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"expected a new or empty folder"):
        prepare(fetched, tmp_path / "out")


def _corrupt(folder: Path) -> None:
    (folder / "seg_train" / "sea" / "0.png").write_bytes(png(0)[:500])


def _tiny(folder: Path) -> None:
    (folder / "seg_train" / "sea" / "0.png").write_bytes(png(900, side=31))


def _in_two_splits(folder: Path) -> None:
    shutil.copyfile(folder / "seg_test" / "sea" / "16.png", folder / "seg_train" / "sea" / "0.png")


def _under_two_labels(folder: Path) -> None:
    shutil.copyfile(folder / "seg_train" / "ice" / "6.png", folder / "seg_train" / "sea" / "0.png")


@pytest.mark.parametrize(
    ("break_", "said"),
    [
        (_corrupt, r"got 1 unusable: seg_train/sea/0\.png \(corrupt: expected a complete image"),
        (_tiny, r"got 1 unusable: seg_train/sea/0\.png \(too small: 31x31, expected at least 32 pixels"),
        (_in_two_splits, r"got 1 .*: seg_train/sea/0\.png \(in two splits: the same bytes as seg_test/sea/16\.png\)"),
        (_under_two_labels, r"got 2 .*seg_train/ice/6\.png.* sea/0\.png \(labelled sea, but seg_train/ice/6"),
    ],
)
def test_unusable_images_are_named_in_the_error_or_dropped(
    break_: Callable[[Path], None], said: str, fetched: Path, tmp_path: Path
) -> None:
    break_(fetched)
    with pytest.raises(DataError, match=said.replace(" sea/0", " seg_train/sea/0")):
        prepare(fetched, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepared = prepare(fetched, tmp_path / "out", DROP)
    rejected = _rejected(tmp_path / "out")
    assert prepared.rejected == len(rejected)
    assert "seg_train/sea/0.png" in rejected
    assert "train/sea/0.png" not in listing(tmp_path / "out")
    scan(tmp_path / "out")  # the checks of `train`: no leak, no corrupt image, all classes in each split


def test_an_image_in_all_splits_is_kept_only_in_test(fetched: Path, tmp_path: Path) -> None:
    for split in ("seg_train", "seg_val", "seg_test", "stream"):
        write_images(fetched, {f"{split}/sea": 1, f"{split}/ice": 1}, seed=200 + 10 * len(split))
        (fetched / split / "sea" / "same.png").write_bytes(png(800))
    prepare(fetched, tmp_path / "out", DROP)
    assert [name for name in listing(tmp_path / "out") if name.endswith("same.png")] == ["test/sea/same.png"]


def test_a_duplicate_within_one_split_is_counted_once_without_an_error(fetched: Path, tmp_path: Path) -> None:
    (fetched / "seg_train" / "sea" / "copy.png").write_bytes(png(0))
    prepared = prepare(fetched, tmp_path / "out")
    assert prepared.images["train"] == {"ice": 6, "sea": 6}
    assert _rejected(tmp_path / "out") == {
        "seg_train/sea/copy.png": "the same bytes as seg_train/sea/0.png, which is kept"
    }


def test_the_error_names_ten_files_and_counts_the_rest(fetched: Path, tmp_path: Path) -> None:
    for path in (fetched / "seg_train").rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"got 12 unusable: .* and 2 more;") as refusal:
        prepare(fetched, tmp_path / "out")
    assert str(refusal.value).count("seg_train/") == 10


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("seg_test", r"got no test; found seg_train/, seg_val/"),
        ("seg_val/ice", r"expected images of every class in every split, got no ice in val"),
        ("seg_train/sea", r"got no sea in train"),
    ],
)
def test_a_missing_split_or_class_is_an_error_even_with_drop(
    gone: str, said: str, fetched: Path, tmp_path: Path
) -> None:
    shutil.rmtree(fetched / gone)
    for rules in (PreparationRules(), DROP):
        with pytest.raises(DataError, match=said):
            prepare(fetched, tmp_path / "out", rules)


def test_the_error_names_a_class_that_became_empty(fetched: Path, tmp_path: Path) -> None:
    for path in (fetched / "seg_test" / "sea").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"got no sea in test"):
        prepare(fetched, tmp_path / "out", DROP)


def test_a_data_set_with_one_class_is_refused(tmp_path: Path) -> None:
    source = write_images(tmp_path / "fetched", {"seg_train/sea": 3, "seg_test/sea": 1})
    with pytest.raises(DataError, match=r"expected at least 2 classes, got sea"):
        prepare(source, tmp_path / "out")


def test_classes_that_cloudwatch_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    folders = {f"seg_{split}/{label}": 3 for split in ("train", "test") for label in (":sea", "sea")}
    with pytest.raises(DataError, match=r"expected classes that CloudWatch can tell apart, got ':sea' and 'sea'"):
        prepare(write_images(tmp_path / "fetched", folders), tmp_path / "out")


def test_every_class_gives_the_validation_fraction(tmp_path: Path) -> None:
    """Images are drawn independently, so the number per class is binomial: 200 x 0.3, within 4 standard deviations."""
    numbers = {f"seg_{split}/{label}": n for split, n in (("train", 200), ("test", 1)) for label in ("sea", "ice")}
    source = write_images(tmp_path / "fetched", numbers)
    images = prepare(source, tmp_path / "out", PreparationRules(val_fraction=0.3)).images
    for label in ("sea", "ice"):
        assert abs(images["val"][label] - 60) < 4 * (200 * 0.3 * 0.7) ** 0.5
        assert images["val"][label] + images["train"][label] == 200


def test_adding_images_does_not_move_others_between_train_and_validation(fetched: Path, tmp_path: Path) -> None:
    shutil.rmtree(fetched / "seg_val")
    write_images(fetched, {"seg_train/sea": 30, "seg_train/ice": 30}, seed=100)
    prepare(fetched, tmp_path / "before")
    write_images(fetched, {"seg_train/sea": 30, "seg_train/ice": 30}, seed=1000)
    prepare(fetched, tmp_path / "after")
    before, after = set(listing(tmp_path / "before")), set(listing(tmp_path / "after"))
    assert before - {"manifest.csv"} <= after
    assert any(name.startswith("val/") for name in after - before)


def test_another_seed_chooses_other_validation_images(fetched: Path, tmp_path: Path) -> None:
    shutil.rmtree(fetched / "seg_val")
    first = prepare(fetched, tmp_path / "a", PreparationRules(val_fraction=0.5, seed=0))
    second = prepare(fetched, tmp_path / "b", PreparationRules(val_fraction=0.5, seed=1))
    assert first.manifest_sha256 != second.manifest_sha256


def test_a_class_with_few_images_has_one_in_train_and_one_in_validation(tmp_path: Path) -> None:
    source = write_images(
        tmp_path / "fetched", {"seg_train/sea": 2, "seg_train/ice": 2, "seg_test/sea": 1, "seg_test/ice": 1}
    )
    for fraction in (0.001, 0.999):
        images = prepare(source, tmp_path / str(fraction), PreparationRules(val_fraction=fraction)).images
        assert images["train"] == images["val"] == {"ice": 1, "sea": 1}


def test_validation_shares_are_uniform() -> None:
    from scipy import stats

    shares = [validation_share(f"{number:064x}", seed=3) for number in range(5000)]
    assert stats.kstest(shares, "uniform").pvalue > 0.001


def test_the_command_prints_its_result_and_errors_are_one_line(
    fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["preprocess", "--data", str(fetched), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["images"]["val"] == {"ice": 2, "sea": 2}
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["is_unchanged"] is True
    assert main([*command[:3], "--output", str(tmp_path / "b"), "--smallest", "41"]) == 2
    assert "got 20 unusable" in capsys.readouterr().err.splitlines()[-1]
    assert main(["preprocess", "--data", str(tmp_path / "none"), "--output", str(tmp_path / "c")]) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--val-fraction", "1"), "a number between 0 and 1"), (("--smallest", "0"), "a whole number of at least 1")],
)
def test_flags_out_of_range_are_refused(flags: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["preprocess", "--data", "a", "--output", "b", *flags])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_real_images_are_fetched_and_prepared(intel: Path, tmp_path: Path) -> None:
    """A few images of each class in another layout, one of them broken."""
    source = tmp_path / "source"
    for split in ("train", "test"):
        for label in sorted(path for path in (intel / split).iterdir() if path.is_dir()):
            (source / split / label.name).mkdir(parents=True)
            for image in sorted(label.iterdir())[:12]:
                shutil.copyfile(image, source / split / label.name / image.name)
    broken = min((source / "train" / "sea").iterdir())
    broken.write_bytes(broken.read_bytes()[:2000])
    fetch(str(source), tmp_path / "fetched")
    with pytest.raises(DataError, match=rf"seg_train/sea/{broken.name} \(corrupt"):
        prepare(tmp_path / "fetched", tmp_path / "out")
    prepared = prepare(tmp_path / "fetched", tmp_path / "out", DROP)
    assert Counter({label: n + prepared.images["val"][label] for label, n in prepared.images["train"].items()}) == {
        label: 11 if label == "sea" else 12 for label in prepared.images["test"]
    }
    assert scan(tmp_path / "out").sha256 == prepared.manifest_sha256
