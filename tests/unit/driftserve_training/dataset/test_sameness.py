from dataclasses import replace
from pathlib import Path

import pytest

from driftserve.errors import DataError
from driftserve_training.dataset.manifest import MANIFEST_FILE, Entry, Manifest, write_manifest
from driftserve_training.dataset.trained_images import check_same_images, read_trained_images

ENTRIES = tuple(
    Entry(f"{split}/sea/{number}.jpg", split, "sea", f"{split}{number}")
    for split in ("train", "val", "test")
    for number in range(12)
)
TRAINED = Manifest(Path("run"), ENTRIES)


def test_the_images_of_the_run_pass_and_other_splits_are_ignored() -> None:
    check_same_images(Manifest(Path("data"), ENTRIES[:24]), TRAINED, ("train", "val"))
    check_same_images(Manifest(Path("data"), ENTRIES), TRAINED, ("test",))
    changed = (*ENTRIES[:24], replace(ENTRIES[24], sha256="other"))
    check_same_images(Manifest(Path("data"), changed), TRAINED, ("train", "val"))


def test_a_stream_split_that_the_run_did_not_have_passes() -> None:
    stream = Manifest(Path("data"), (Entry("stream/sea/0.jpg", "stream", "sea", "0"),))
    check_same_images(stream, TRAINED, ("stream",))


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        (ENTRIES[1:], "train/sea/0.jpg"),
        ((replace(ENTRIES[0], sha256="other"), *ENTRIES[1:]), "train/sea/0.jpg"),
        (
            (replace(ENTRIES[0], path="train/forest/0.jpg", label="forest"), *ENTRIES[1:]),
            "train/forest/0.jpg, train/sea",
        ),
        ((*ENTRIES, Entry("val/sea/new.jpg", "val", "sea", "new")), "val/sea/new.jpg"),
        (ENTRIES[12:], "train/sea/7.jpg and 2 more"),
    ],
    ids=["removed", "changed", "moved", "added", "many"],
)
def test_the_error_names_images_that_differ(entries: tuple[Entry, ...], named: str) -> None:
    with pytest.raises(DataError) as refused:
        check_same_images(Manifest(Path("data"), entries), TRAINED, ("train", "val"))
    assert str(refused.value).startswith("data: expected the images of the training run, got changes in ")
    assert named in str(refused.value)


def test_the_manifest_of_a_run_is_read_back_and_another_is_refused(tmp_path: Path) -> None:
    write_manifest(TRAINED, tmp_path / MANIFEST_FILE)
    assert read_trained_images(tmp_path, TRAINED.sha256).entries == ENTRIES
    with pytest.raises(DataError, match=r"expected the manifest 0000.* of the training run, got .*; train again"):
        read_trained_images(tmp_path, "0" * 64)
