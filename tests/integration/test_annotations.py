"""Merge Label Studio releases, from files and from S3 (moto over HTTP), into a data set."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import numpy.typing as npt
import pytest

from driftserve.errors import DataError
from driftserve_demo.local_aws import local_aws
from driftserve_training.preparation.preparation import PreparationResult, PreparationRules, prepare
from image_folders import add_companions, listing, png, write_images
from odd_images import odd_images
from sample_images import encode

Task = dict[str, Any]


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A data set. Seeds of its images: train/sea 0-3, train/ice 4-7, val/sea 8, val/ice 9, test/sea 10, test/ice 11."""
    return write_images(
        tmp_path / "fetched",
        {f"seg_{split}/{label}": n for split, n in (("train", 4), ("val", 1), ("test", 1)) for label in ("sea", "ice")},
    )


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    return tmp_path / "release"


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    with local_aws() as environment:
        yield environment


def _annotation(choice: str | None, by: object = 1, at: int = 0, **more: object) -> Task:
    """Return an annotation in Label Studio's format; `at` is the second of its creation."""
    value = {"type": "choices", "from_name": "scene", "to_name": "image", "value": {"choices": [choice]}}
    return {
        "id": 100 + at,
        "completed_by": by,
        "result": [value] if choice else [],
        "was_cancelled": False,
        "created_at": f"2026-11-01T10:00:{at:02}.5Z",
        "updated_at": f"2026-11-01T10:00:{at:02}.5Z",
        "lead_time": 2.5,
        **more,
    }


def _task(number: int, image: str, *annotations: Task) -> Task:
    return {"id": number, "data": {"image": image}, "annotations": list(annotations), "project": 1, "predictions": []}


def _box() -> Task:
    return {"type": "rectanglelabels", "value": {"rectanglelabels": ["ice"], "x": 1, "y": 1}}


def _prepare(fetched: Path, release: Path, tasks: list[Task], **rules: Any) -> tuple[PreparationResult, list[str]]:
    """Prepare with an export of these tasks; return the result and the prepared files."""
    (release / "export.json").write_text(json.dumps(tasks))
    output = release.parent / "out"
    prepared = prepare(fetched, output, PreparationRules(**rules), str(release / "export.json"))
    return prepared, listing(output)


def _rejected(release: Path) -> dict[str, str]:
    with (release.parent / "out" / "rejected.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_annotations_replace_labels_in_train_and_validation_but_not_the_split(fetched: Path, release: Path) -> None:
    for name, seed in (("a", 0), ("b", 9), ("c", 1)):
        (release / f"{name}.png").write_bytes(png(seed))
    tasks = [
        _task(1, "a.png", _annotation("ice")),
        _task(2, "b.png", _annotation("sea")),
        _task(3, "c.png", _annotation("sea")),  # the same label as the folder
    ]
    write_images(fetched, {"seg_val/ice": 1}, seed=50)
    prepared, _ = _prepare(fetched, release, tasks)
    assert (prepared.relabelled, prepared.added, prepared.rejected) == (2, 0, 0)
    assert prepared.images["train"] == {"ice": 5, "sea": 3}
    assert prepared.images["val"] == {"ice": 1, "sea": 2}
    assert _contents(release, "train/ice") == {png(seed) for seed in (0, 4, 5, 6, 7)}
    assert _contents(release, "val/sea") == {png(8), png(9)}


def test_a_label_in_test_is_kept_and_the_conflict_is_listed(fetched: Path, release: Path) -> None:
    write_images(fetched, {"stream/sea": 1, "stream/ice": 1}, seed=60)
    (release / "a.png").write_bytes(png(10))
    (release / "b.png").write_bytes(png(60))
    prepared, files = _prepare(
        fetched, release, [_task(1, "a.png", _annotation("ice")), _task(2, "b.png", _annotation("ice"))]
    )
    assert (prepared.relabelled, prepared.added) == (0, 0)
    assert {"test/sea/10.png", "stream/sea/60.png"} < set(files)
    assert _rejected(release) == {
        "a.png (task 1)": "the same bytes as seg_test/sea/10.png, which keeps its label because it is in test",
        "b.png (task 2)": "the same bytes as stream/sea/60.png, which keeps its label because it is in stream",
    }


def test_a_new_image_is_added_to_train_and_never_to_validation(fetched: Path, release: Path) -> None:
    """It gets a unique name with the suffix of its real format; here the key has no suffix."""
    for path in (fetched / "seg_val").rglob("*.png"):
        path.rename(fetched / "seg_train" / path.parent.name / path.name)
    for label in ("sea", "ice"):
        (fetched / "seg_val" / label).rmdir()
    (fetched / "seg_val").rmdir()
    (release / "incoming").mkdir()
    for seed in range(70, 80):
        (release / "incoming" / str(seed)).write_bytes(png(seed))
    tasks = [_task(seed, f"incoming/{seed}", _annotation("ice")) for seed in range(70, 80)]
    prepared, files = _prepare(fetched, release, tasks, val_fraction=0.6)
    assert prepared.added == 10
    new = [name for name in files if name.split("/")[-1].startswith("7") and "-" in name]
    assert len(new) == 10
    assert all(name.startswith("train/ice/") and name.endswith(".png") for name in new)


def test_the_suffix_of_a_new_image_is_that_of_its_format(fetched: Path, release: Path) -> None:
    """Also if only the decoder of the service reads it, as a PNG with a text of 2 MiB, or if Pillow calls it MPO."""
    bodies = {
        "phone": (odd_images()["JPEG MPO"].body, ".jpg"),
        "text": (odd_images()["PNG with zTXt of 2 MiB"].body, ".png"),
        "new": (encode(_noise(), "AVIF"), ".avif"),
        "web": (encode(_noise(), "WEBP"), ".webp"),
    }
    for name, (body, _) in bodies.items():
        (release / name).write_bytes(body)
    tasks = [_task(number, name, _annotation("ice")) for number, name in enumerate(bodies)]
    prepared, files = _prepare(fetched, release, tasks, smallest=16)
    assert prepared.added == len(bodies)
    for name, (_, suffix) in bodies.items():
        assert [Path(file).suffix for file in files if file.startswith(f"train/ice/{name}-")] == [suffix]


def test_skipped_and_empty_annotations_are_ignored(fetched: Path, release: Path) -> None:
    (release / "a.png").write_bytes(png(0))
    cancelled = _annotation("ice") | {"was_cancelled": True}
    tasks = [
        _task(1, "a.png", _annotation(None), cancelled),
        _task(2, "never-looked-at.png"),
        _task(3, "a.png", _annotation("sea"), cancelled),
    ]
    assert _prepare(fetched, release, tasks)[0].relabelled == 0


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([_annotation("ice", 1), _annotation("ice", 2), _annotation("sea", 3)], "ice"),
        ([_annotation("sea", 1), _annotation("ice", {"id": 2}), _annotation("ice", {"id": 3})], "ice"),
        ([_annotation("ice", 1, at=9), _annotation("sea", 1, at=3)], "ice"),  # the latest one counts, in any order
        ([_annotation("ice", 1, at=3, updated_at="2026-11-01T10:00:09Z"), _annotation("sea", 1, at=5)], "ice"),
        ([_annotation("ice", 1, at=1), _annotation("ice", 1, at=2), _annotation("sea", 2)], None),
        ([_annotation("ice", 1), _annotation("sea", 2)], None),
    ],
)
def test_the_majority_of_the_annotators_latest_labels_decides(
    annotations: list[Task], label: str | None, fetched: Path, release: Path
) -> None:
    (release / "a.png").write_bytes(png(0))
    _prepare(fetched, release, [_task(1, "a.png", *annotations)])
    assert (png(0) in _contents(release, "train/ice")) is (label == "ice")
    assert png(0) not in _contents(release, "train/sea")
    assert bool(_rejected(release)) is (label is None)


@pytest.mark.parametrize(
    "tasks",
    [
        [_task(1, "a.png", _annotation("ice", 1), _annotation("sea", 2))],
        [_task(1, "a.png", _annotation("ice")), _task(2, "copy.png", _annotation("sea"))],
    ],
)
def test_an_image_without_a_majority_is_omitted_and_listed(tasks: list[Task], fetched: Path, release: Path) -> None:
    for name in ("a.png", "copy.png"):
        (release / name).write_bytes(png(0))
    prepared, files = _prepare(fetched, release, tasks)
    assert prepared.images["train"] == {"ice": 4, "sea": 3}
    assert "train/sea/0.png" not in files
    assert _rejected(release)["seg_train/sea/0.png"] == "annotators disagree on its label"


def test_annotations_resolve_an_image_in_two_class_folders(fetched: Path, release: Path) -> None:
    (fetched / "seg_train" / "sea" / "other.png").write_bytes(png(4))  # also in ice
    (release / "a.png").write_bytes(png(4))
    with pytest.raises(DataError, match=r"labelled sea, but .* with the same bytes is labelled ice"):
        prepare(fetched, release.parent / "out")
    prepared, _ = _prepare(fetched, release, [_task(1, "a.png", _annotation("ice"))])
    assert prepared.images["train"] == {"ice": 4, "sea": 4}


def test_annotated_images_are_checked_like_others(fetched: Path, release: Path) -> None:
    (release / "a.png").write_bytes(b"broken")
    (release / "b.gif").write_bytes(encode(_noise(), "GIF"))
    tasks = [_task(1, "a.png", _annotation("ice")), _task(2, "b.gif", _annotation("ice"))]
    with pytest.raises(DataError, match=r"got 2 unusable: a\.png \(task 1\) \(corrupt.*b\.gif .*got GIF"):
        _prepare(fetched, release, tasks)
    assert _prepare(fetched, release, tasks, drop=True)[0].rejected == 2


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([_task(7, "a.png", _annotation("moon"))], r"task 7: expected one of ice, sea, got 'moon'"),
        (
            [_task(7, "none.png", _annotation("ice"))],
            r"task 7: expected the image 'none\.png' in the release's folder, got none",
        ),
        ([_task(7, "../a.png", _annotation("ice"))], r"task 7: .* got '\.\./a\.png', which is outside"),
        ([_task(7, "/etc/passwd", _annotation("ice"))], r"task 7: .* got '/etc/passwd', which is outside"),
        ([_task(7, "/data/local-files/?d=../a.png", _annotation("ice"))], r"task 7: .* is outside"),
        ([_task(7, "https://example.com/a.png", _annotation("ice"))], r"task 7: expected the image 'https:"),
        ([{**_task(7, "", _annotation("ice")), "data": {"text": "x"}}], r"task 7: expected .* data\.image, got None"),
        ([{"image": "a.png", "choice": "ice"}], r"export\.json: .* \(JSON, not JSON-MIN\); id: Field required"),
        ([], r"expected tasks as Label Studio exports them, got none"),
        ([_task(7, "a.png", _annotation("ice", result=[_box()]))], r"task 7: expected one choice in annotation 100"),
    ],
)
def test_the_error_names_a_fault_in_a_release(tasks: list[Task], said: str, fetched: Path, release: Path) -> None:
    (release / "a.png").write_bytes(png(0))
    with pytest.raises(DataError, match=said):
        _prepare(fetched, release, tasks)
    assert not (release.parent / "out").exists()


def test_the_error_for_an_unreadable_release_names_it(fetched: Path, release: Path) -> None:
    (release / "12.json").write_text("{")
    for location, said in ((release, r"12\.json is not JSON"), (release / "none", r"got none; correct the path")):
        with pytest.raises(DataError, match=said):
            prepare(fetched, release.parent / "out", annotations=str(location))


def _as_tasks(folder: Path, tasks: list[Task]) -> None:
    for task in tasks:
        (folder / f"{task['id']}.json").write_text(json.dumps(task))


def _as_annotations(folder: Path, tasks: list[Task]) -> None:
    for task in tasks:
        bare = {name: task[name] for name in ("id", "data", "project")}
        for number, annotation in enumerate(task["annotations"]):
            (folder / f"{10 * task['id'] + number}").write_text(json.dumps({**annotation, "task": bare}))


@pytest.mark.parametrize("write", [_as_tasks, _as_annotations])
def test_a_folder_of_objects_is_read_like_an_export(
    write: Callable[[Path, list[Task]], None], fetched: Path, release: Path
) -> None:
    (release / "images").mkdir()
    (release / "images" / "a b.png").write_bytes(png(0))
    (release / "b.png").write_bytes(png(70))
    (release / ".hidden").write_text("no record")
    add_companions(release)
    (release / ".ipynb_checkpoints" / "1-checkpoint.json").write_text("no record")
    local = "/data/local-files/?d=images/a%20b.png"
    votes = [_annotation("ice", 1), _annotation("ice", 2), _annotation("sea", 3)]
    write(release, [_task(1, local, *votes), _task(2, "b.png", _annotation("sea"))])
    prepared = prepare(fetched, release.parent / "out", annotations=str(release))
    assert (prepared.relabelled, prepared.added) == (1, 1)


def test_releases_and_images_come_from_s3(
    aws: dict[str, str], fetched: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.Session().client("s3")
    s3.create_bucket(Bucket="labels", CreateBucketConfiguration={"LocationConstraint": aws["AWS_DEFAULT_REGION"]})
    s3.put_object(Bucket="labels", Key="incoming/0.png", Body=png(0))
    s3.put_object(Bucket="labels", Key="release/near.png", Body=png(70))
    _as_annotations(release, [_task(1, "s3://labels/incoming/0.png", _annotation("ice"))])
    _as_tasks(release, [_task(2, "near.png", _annotation("sea"))])
    for path in release.iterdir():
        s3.put_object(Bucket="labels", Key=f"release/{path.name}", Body=path.read_bytes())
    prepared = prepare(fetched, release.parent / "out", annotations="s3://labels/release")
    assert (prepared.relabelled, prepared.added) == (1, 1)
    s3.delete_object(Bucket="labels", Key="incoming/0.png")
    with pytest.raises(DataError, match=r"s3://labels/incoming/0\.png: cannot read from S3: .*404"):
        prepare(fetched, release.parent / "again", annotations="s3://labels/release")


def _contents(release: Path, split_and_class: str) -> set[bytes]:
    return {path.read_bytes() for path in (release.parent / "out" / split_and_class).iterdir()}


def _noise() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(90).integers(0, 256, (40, 40, 3), np.uint8)
