"""Fetch data sets from a folder, a zip file, S3 (moto over HTTP) and Kaggle (a fake of its API)."""

import io
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from driftserve.errors import DataError
from driftserve_demo.local_aws import local_aws
from driftserve_training.__main__ import main
from driftserve_training.dataset.manifest import scan
from driftserve_training.preparation.preparation import prepare
from driftserve_training.sources.source import fetch
from driftserve_training.sources.zipped import unzip
from fake_kaggle import TOKEN, FakeKaggle, fake_kaggle
from image_folders import APPLE_DOUBLE, add_companions, listing, png, write_images
from service_models import service_models_read_once

PLAIN = {"train/sea": 2, "train/street": 2, "test/sea": 1, "test/street": 1}
FETCHED = [
    "seg_test/sea/4.png",
    "seg_test/street/5.png",
    "seg_train/sea/0.png",
    "seg_train/sea/1.png",
    "seg_train/street/2.png",
    "seg_train/street/3.png",
]
KAGGLES_OWN = {
    f"seg_{name.split('/')[0]}/seg_{name}": number for name, number in PLAIN.items()
}  # seg_train/seg_train/sea


def _zip(members: Mapping[str, bytes], **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.writestr(member, body)
    return buffer.getvalue()


def _zipped(folder: Path) -> bytes:
    return _zip({name: (folder / name).read_bytes() for name in listing(folder)})


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    with local_aws() as environment, service_models_read_once():
        yield environment


@pytest.fixture
def s3(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.Session().client("s3")
    client.create_bucket(Bucket="scenes", CreateBucketConfiguration={"LocationConstraint": aws["AWS_DEFAULT_REGION"]})
    yield client
    urlopen(Request(f"{aws['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()  # noqa: S310


@pytest.fixture(scope="module")
def kaggle_server() -> Iterator[FakeKaggle]:
    archive = {name: png(number) for number, name in enumerate(("seg_train/seg_train/sea/0.png",
        "seg_train/seg_train/street/1.png", "seg_test/seg_test/sea/2.png", "seg_test/seg_test/street/3.png",
        "seg_pred/seg_pred/4.png"))}  # fmt: skip
    bodies = {"owner/scenes": _zip(archive), "owner/secret": _zip(archive), "owner/broken": b"no archive"}
    with fake_kaggle(bodies, private=frozenset({"owner/secret"})) as fake:
        yield fake


@pytest.fixture
def kaggle(kaggle_server: FakeKaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKaggle:
    for name, value in kaggle_server.environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    kaggle_server.requests.clear()
    return kaggle_server


@pytest.mark.parametrize("layout", [PLAIN, KAGGLES_OWN, {f"archive/{name}": n for name, n in PLAIN.items()}])
def test_every_known_layout_is_fetched_into_the_same_layout(layout: dict[str, int], tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", layout)
    fetched = fetch(str(source), tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED
    assert fetched.images == {"train": 4, "test": 2}
    assert fetched.classes == ("sea", "street")
    assert (tmp_path / "out" / "seg_train" / "sea" / "1.png").read_bytes() == png(1)


def test_validation_stream_and_unlabelled_images_are_fetched_too(tmp_path: Path) -> None:
    source = write_images(
        tmp_path / "source",
        {**PLAIN, "validation/sea": 1, "validation/street": 1, "stream/sea": 1, "pred": 2, ".hidden/sea": 1},
    )
    fetched = fetch(str(source), tmp_path / "out")
    assert fetched.images == {"train": 4, "val": 2, "test": 2, "stream": 1, "pred": 2}
    assert set(listing(tmp_path / "out")) > {"seg_val/sea/6.png", "seg_val/street/7.png", "seg_pred/9.png"}


def test_files_that_are_not_images_are_skipped_and_counted(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    (source / "README.md").write_text("scenes")
    (source / "train" / "sea" / "Thumbs.db").write_text("no image")
    assert fetch(str(source), tmp_path / "out").skipped == 2
    assert listing(tmp_path / "out") == FETCHED


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("split", ["train", "val", "test", "stream"])
def test_a_class_may_have_the_name_of_a_split(split: str, nested: bool, tmp_path: Path) -> None:
    """A data set of vehicles has a class `train`. Its folder `train/train/` is not the layout of Kaggle's archive."""
    inner = "{0}/{0}" if nested else "{0}"
    splits = ("train", "val", "test", "stream")
    layout = {f"{inner.format(one)}/{label}": 2 for one in splits for label in ("bus", split)}
    source = write_images(tmp_path / "source", layout)
    fetched = fetch(str(source), tmp_path / "fetched")
    assert fetched.images == dict.fromkeys(splits, 4)
    assert fetched.classes == tuple(sorted(("bus", split)))
    prepared = prepare(tmp_path / "fetched", tmp_path / "data")
    assert prepared.images == {one: {"bus": 2, split: 2} for one in splits}
    assert scan(tmp_path / "data").labels == fetched.classes


def test_a_class_may_have_the_name_of_its_fetched_split(tmp_path: Path) -> None:
    layout = {f"{split}/{label}": 2 for split in ("train", "test") for label in ("bus", "seg_train")}
    fetch(str(write_images(tmp_path / "source", layout)), tmp_path / "fetched")
    assert fetch(str(tmp_path / "fetched"), tmp_path / "again").classes == ("bus", "seg_train")


def test_one_class_with_the_name_of_its_split_is_a_class(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", {"train/train": 2, "test/test": 1})
    assert fetch(str(source), tmp_path / "out").classes == ("test", "train")


@pytest.mark.parametrize("name", ["train", "test", "val", "stream"])
def test_classes_alone_may_have_the_name_of_a_split(name: str, tmp_path: Path) -> None:
    source, held_out = (write_images(tmp_path / at, {"bus": 1, name: 1}, seed) for at, seed in (("a", 0), ("b", 9)))
    fetched = fetch(str(source), tmp_path / "out", str(held_out))
    assert (fetched.images, fetched.classes) == ({"train": 2, "test": 2}, tuple(sorted(("bus", name))))


@pytest.mark.parametrize("layout", [PLAIN, KAGGLES_OWN])
@pytest.mark.parametrize("kind", ["folder", "zip", "prefix", "zip in S3"])
def test_files_whose_names_begin_with_a_dot_are_skipped(
    kind: str, layout: dict[str, int], s3: Any, tmp_path: Path
) -> None:
    source = write_images(tmp_path / "source", layout)
    add_companions(source)
    for name in listing(source):  # as macOS's own zip has them
        (source / "__MACOSX" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "__MACOSX" / name).with_name(f"._{Path(name).name}").write_bytes(APPLE_DOUBLE)
    number = len(listing(source))
    location = str(source)
    if kind == "prefix":
        location = "s3://scenes/mac"
        for name in listing(source):
            s3.put_object(Bucket="scenes", Key=f"mac/{name}", Body=(source / name).read_bytes())
    elif kind == "zip":
        location = str(tmp_path / "scenes.zip")
        Path(location).write_bytes(_zipped(source))
    elif kind == "zip in S3":
        location = "s3://scenes/all.zip"
        s3.put_object(Bucket="scenes", Key="all.zip", Body=_zipped(source))
    fetched = fetch(location, tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED
    assert fetched.skipped == number - len(FETCHED)


def test_a_symbolic_link_is_fetched_as_its_target(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    (tmp_path / "elsewhere.png").write_bytes(png(99))
    (source / "train" / "sea" / "link.png").symlink_to("../../../elsewhere.png")
    fetch(str(source), tmp_path / "out")
    fetched = tmp_path / "out" / "seg_train" / "sea" / "link.png"
    assert not fetched.is_symlink()
    assert fetched.read_bytes() == png(99)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ({"train/sea": 1, "train/street": 1}, r"got no test; found train/"),
        ({"a/sea": 1, "b/sea": 1}, r"got no train and no test; found a/, b/"),
        ({**PLAIN, "train/forest": 0}, r"got none in train/forest/"),
        ({**PLAIN, "test": 0, "train/.x": 0, "stream": 0}, r"<class>/<image> in stream/, got no class"),
        ({**PLAIN, "seg_train/sea": 1}, r"expected one folder of train images, got seg_train/ and train/"),
        ({"": 2}, r"got no train and no test; found no folders"),
    ],
)
def test_the_error_names_what_is_missing_in_a_source(layout: dict[str, int], said: str, tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", layout)
    with pytest.raises(DataError, match=said):
        fetch(str(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ({"train/sea": 2, "train/street": 2}, {"test/sea": 1, "test/street": 1}),
        ({"sea": 2, "street": 2}, {"sea": 1, "street": 1}),
        (KAGGLES_OWN, {"archive/seg_test/sea": 1, "archive/seg_test/street": 1}),
        ({"train/sea": 2, "train/street": 2}, {"seg_test/sea": 1, "seg_test/street": 1, "train/sea": 3}),
    ],
    ids=["a split each", "classes alone", "the first's own test stays", "the second's own train stays"],
)
def test_test_images_may_have_another_source(training: dict[str, int], test: dict[str, int], tmp_path: Path) -> None:
    source, test_source = write_images(tmp_path / "a", training), write_images(tmp_path / "b", test, seed=4)
    fetched = fetch(str(source), tmp_path / "out", str(test_source))
    assert listing(tmp_path / "out") == FETCHED
    assert (tmp_path / "out" / "seg_test" / "street" / "5.png").read_bytes() == png(5)
    assert (fetched.images, fetched.classes) == ({"train": 4, "test": 2}, ("sea", "street"))
    assert (fetched.source, fetched.test_source) == (str(source), str(test_source))
    assert fetched.skipped == len(listing(source)) + len(listing(test_source)) - 6


@pytest.mark.parametrize(
    ("training", "test", "said"),
    [
        ({"sea": 1}, {"train/sea": 1}, r"/b: expected the folders seg_test/ \(or test/\) .*got no test; found train/"),
        ({"test/sea": 1}, {"sea": 1}, r"/a: expected the folders seg_train/ \(or train/\) .*got no train; found test/"),
        ({"sea": 1}, {"sea": 0}, r"/b: expected .*got no"),
        ({"train": 1, "test": 1}, {"sea": 1}, r"/a: expected <class>/<image> in train/, got no class"),
        ({"sea": 1, "pred": 1}, {"sea": 1}, r"/a: expected the folders seg_train/ .*got no train; found pred/, sea/"),
        ({"sea": 1}, {"sea": 1, "street": 0}, r"/b: expected images .*, got none in street/"),
        ({"": 2}, {"sea": 1}, r"/a: expected <class>/<image> in \./, got no class"),
    ],
)
def test_the_error_names_what_is_missing_in_one_of_two_sources(
    training: dict[str, int], test: dict[str, int], said: str, tmp_path: Path
) -> None:
    source, test_source = write_images(tmp_path / "a", training), write_images(tmp_path / "b", test)
    with pytest.raises(DataError, match=said):
        fetch(str(source), tmp_path / "out", str(test_source))
    assert not (tmp_path / "out").exists()


def test_two_prefixes_of_a_bucket_can_be_separate_sources(s3: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("2026/train/sea/0.png", "2026/train/street/1.png", "held-out/sea/2.png")):
        s3.put_object(Bucket="scenes", Key=name, Body=png(number))
    assert (
        main(["fetch", "--source=s3://scenes/2026", "--test-source=s3://scenes/held-out", f"--output={tmp_path / 'o'}"])
        == 0
    )
    assert listing(tmp_path / "o") == ["seg_test/sea/2.png", "seg_train/sea/0.png", "seg_train/street/1.png"]


def test_an_output_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"expected a new or empty folder, but it has files"):
        fetch(str(source), tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a new or empty folder, got a file"):
        fetch(str(source), tmp_path / "out" / "mine.txt")


def test_an_empty_folder_or_a_link_to_one_is_accepted_as_output(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    fetch(str(source), tmp_path / "out")
    assert listing(tmp_path / "real") == FETCHED


def test_a_zip_file_is_unpacked(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", KAGGLES_OWN)
    (source / "notes.txt").write_text("notes")
    (tmp_path / "scenes.zip").write_bytes(_zipped(source))
    fetched = fetch(str(tmp_path / "scenes.zip"), tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED
    assert fetched.skipped == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no zip", r"cannot read it as a zip file: File is not a zip file"),
        (_zip({"../out.png": png(0)}), r"got '\.\./out\.png', which is outside"),
        (_zip({"/tmp/out.png": png(0)}), r"got '/tmp/out\.png', which is outside"),  # noqa: S108
        (_zip({"a/b.png": b"/etc/passwd"}, external_attr=0o120777 << 16, create_system=3), r"got the link 'a/b\.png'"),
        (_zip({"x.png": png(0), "x.png/y.png": png(1)}), r"expected each name once, got 'x\.png/y\.png'"),
        (_zip({"x.png": png(0), "./x.png": png(1)}), r"expected each name once, got '\./x\.png'"),
    ],
)
def test_the_error_for_a_hostile_or_broken_zip_file_names_the_member(body: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "scenes.zip").write_bytes(body)
    with pytest.raises(DataError, match=said):
        fetch(str(tmp_path / "scenes.zip"), tmp_path / "deep" / "out")
    assert listing(tmp_path) == ["scenes.zip"]


@pytest.mark.parametrize(("place", "byte"), [(45, 0x07), (200, 0xFF)])  # an invalid block type; different pixels
def test_the_error_for_a_corrupt_zip_member_names_it(place: int, byte: int, tmp_path: Path) -> None:
    body = bytearray(_zip({"train/sea/0.png": png(0)}))
    body[place] = byte
    (tmp_path / "scenes.zip").write_bytes(body)
    with pytest.raises(DataError, match=r"the file 'train/sea/0\.png' is corrupt"):
        fetch(str(tmp_path / "scenes.zip"), tmp_path / "out")


def test_an_encrypted_zip_file_is_refused(tmp_path: Path) -> None:
    body = bytearray(_zip({"train/sea/0.png": png(0)}))
    body[body.index(b"PK\x01\x02") + 8] |= 1  # APPNOTE.TXT 4.4.4
    (tmp_path / "scenes.zip").write_bytes(body)
    with pytest.raises(DataError, match=r"'train/sea/0\.png' is encrypted"):
        fetch(str(tmp_path / "scenes.zip"), tmp_path / "out")


def test_a_zip_file_that_is_too_large_unpacked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scenes.zip").write_bytes(_zip({"train/sea/0.png": bytes(100_000)}))
    with pytest.raises(DataError, match=r"expected at most 99999 bytes unpacked, got 100000"):
        unzip(tmp_path / "scenes.zip", tmp_path, "scenes.zip", most_bytes=99_999)


def test_all_objects_below_a_prefix_are_fetched(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list has more than one page. A neighbour with the same start of its name is not below the prefix."""
    source = write_images(tmp_path / "source", PLAIN)
    for name in listing(source):
        s3.put_object(Bucket="scenes", Key=f"2026/{name}", Body=(source / name).read_bytes())
    s3.put_object(Bucket="scenes", Key="2026/a/notes.txt", Body=b"")
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # the page size; S3 itself uses 1,000
    s3.put_object(Bucket="scenes", Key="2026-old/train/sea/old.png", Body=png(7))
    s3.put_object(Bucket="scenes", Key="2026/train/", Body=b"")  # the console creates such an object for a folder
    fetched = fetch("s3://scenes/2026", tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED
    assert fetched.skipped == 1


def test_an_empty_class_folder_in_s3_is_refused(s3: Any, tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    for name in listing(source):
        s3.put_object(Bucket="scenes", Key=f"2026/{name}", Body=(source / name).read_bytes())
    s3.put_object(Bucket="scenes", Key="2026/train/forest/", Body=b"")
    with pytest.raises(DataError, match=r"s3://scenes/2026/: expected images .* got none in train/forest/"):
        fetch("s3://scenes/2026/", tmp_path / "out")


def test_a_zip_file_in_s3_is_fetched_and_unpacked(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="scenes", Key="all.zip", Body=_zipped(write_images(tmp_path / "source", PLAIN)))
    fetch("s3://scenes/all.zip", tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://scenes/wrong", r"s3://scenes/wrong: expected objects below that prefix, got none"),
        ("s3://no-such-bucket/x", r"s3://no-such-bucket/x: .*NoSuchBucket"),
        ("s3://scenes/none.zip", r"s3://scenes/none\.zip: .*404"),
        ("s3://Not_A_Bucket!/x", r"Invalid bucket name"),
        ("s3:///x", r"expected s3://<bucket>/<prefix>, got no bucket"),
    ],
)
def test_the_error_for_a_wrong_s3_address_names_it(s3: Any, source: str, said: str, tmp_path: Path) -> None:
    assert s3
    with pytest.raises(DataError, match=said):
        fetch(source, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_key_that_points_outside_the_folder_is_refused(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="scenes", Key="2026/train/../../../evil.png", Body=png(0))
    with pytest.raises(DataError, match=r"got 'train/\.\./\.\./\.\./evil\.png', which is outside"):
        fetch("s3://scenes/2026", tmp_path / "out")


def test_missing_credentials_or_network_is_a_one_line_error(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        without.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        without.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        assert main(["fetch", "--source", "s3://scenes/x", "--output", str(tmp_path / "out")]) == 2
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")  # nobody listens on this port
    assert main(["fetch", "--source", "s3://scenes/x", "--output", str(tmp_path / "out")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "Unable to locate credentials" in first
    assert "Could not connect to the endpoint" in second


def test_a_kaggle_data_set_is_fetched_with_its_version_and_only_once(kaggle: FakeKaggle, tmp_path: Path) -> None:
    fetched = fetch("kaggle:owner/scenes", tmp_path / "out")
    assert fetched.source == "kaggle:owner/scenes/versions/2"
    assert fetched.images == {"train": 2, "test": 2, "pred": 1}
    assert listing(tmp_path / "out")[0] == "seg_pred/4.png"
    fetch("kaggle:owner/scenes", tmp_path / "again")
    assert sum("archive.zip" in path for path in kaggle.requests) == 1
    assert fetch("kaggle:owner/scenes/versions/1", tmp_path / "old").source == "kaggle:owner/scenes/versions/1"


def test_a_private_data_set_needs_a_token(kaggle: FakeKaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DataError, match=r"kaggle:owner/secret: .* data set: 403 from Kaggle; .* your Kaggle credentials"
    ):
        fetch("kaggle:owner/secret", tmp_path / "out")
    assert len(kaggle.requests) == 1
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert fetch("kaggle:owner/secret", tmp_path / "out").images["train"] == 2


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        ("owner/none", r"data set: 404 from Kaggle; check the name"),
        ("owner/scenes/versions/9", r"data set: 404 from Kaggle"),
        ("owner/broken", r"data set: Unsupported archive type"),
        ("scenes", r"data set: Invalid dataset handle: scenes"),
    ],
)
def test_the_error_for_an_unknown_kaggle_data_set_names_it(
    kaggle: FakeKaggle, handle: str, said: str, tmp_path: Path
) -> None:
    assert kaggle
    with pytest.raises(DataError, match=rf"^kaggle:{handle}: .*{said}"):
        fetch(f"kaggle:{handle}", tmp_path / "out")


def test_kaggle_without_a_network_is_a_one_line_error(
    kaggle: FakeKaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kaggle
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"data set: no answer from Kaggle .* check the network"):
        fetch("kaggle:owner/scenes", tmp_path / "out")


def test_the_command_prints_one_line_of_json(kaggle: FakeKaggle, tmp_path: Path) -> None:
    """Run it as a process, because kagglehub would write its log to stdout."""
    assert kaggle
    command = [sys.executable, "-m", "driftserve_training", "fetch", "--source", "kaggle:owner/scenes", "--output"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["images"] == {"train": 2, "test": 2, "pred": 1}


def test_a_killed_fetch_leaves_no_output_and_the_next_one_removes_its_files(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    script = (
        "import sys, time, pathlib\n"
        "from driftserve_training.sources.staging import staged\n"
        "with staged(pathlib.Path(sys.argv[1])) as staging:\n"
        "    (staging.whole / 'half.png').write_text('half')\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "out"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(DataError, match=r"another process is writing this folder"):
            fetch(str(source), tmp_path / "out")
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    fetch(str(source), tmp_path / "out")
    assert listing(tmp_path / "out") == FETCHED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_folder_with_the_name_of_the_temporary_one_is_kept(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", PLAIN)
    kept = tmp_path / ".out.partial" / "mine"
    kept.mkdir(parents=True)
    with pytest.raises(DataError, match=r"\.out\.partial: expected only the temporary folders .* got mine"):
        fetch(str(source), tmp_path / "out")
    assert kept.exists()


def test_an_output_folder_that_is_a_mount_point_is_filled(tmp_path: Path) -> None:
    """This is usual in containers. A mount point cannot be replaced by a rename."""
    write_images(tmp_path / "source", PLAIN)
    (tmp_path / "out").mkdir()
    (tmp_path / "copy").mkdir()
    within = (
        'mount -t tmpfs none "$2/out" && "$1" -m driftserve_training fetch --source "$2/source" --output "$2/out" && '
        'cp -r "$2/out/." "$2/copy"'
    )
    enter = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*enter, "true"], capture_output=True).returncode:
        pytest.skip("this user may not create mount points")
    subprocess.run([*enter, "sh", "-c", within, "sh", sys.executable, tmp_path], capture_output=True, check=True)
    assert listing(tmp_path / "copy") == FETCHED


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("fetch --source", "caf\udce9/sea/0.png"),
        ("fetch --source", "train/caf\udce9/0.png"),
        ("preprocess --data", "train/sea/caf\udce9.png"),
        ("train --data", "train/caf\udce9/0.png"),
        ("train --data", "train/sea/caf\udce9.png"),
    ],
)
def test_names_that_are_not_utf8_are_refused_in_one_line(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_images(tmp_path / "source", PLAIN | {"val/sea": 1, "val/street": 1})
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_bytes(png(90))
    program, option = command.split()
    assert main([program, option, str(source), "--output", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"driftserve_training: {source}")
    assert "expected names in UTF-8, got " in line
    assert "caf\\xe9" in line
    assert not (tmp_path / "out").exists()


def test_a_zip_name_that_is_falsely_marked_as_utf8_is_refused(tmp_path: Path) -> None:
    body = _zip({"train/caf\u00e9/0.png": png(0)}).replace("\u00e9".encode(), b"\xe9e")
    (tmp_path / "scenes.zip").write_bytes(body)
    with pytest.raises(DataError, match=r"scenes\.zip: cannot read it as a zip file: 'utf-8' codec can't decode"):
        fetch(str(tmp_path / "scenes.zip"), tmp_path / "out")


def test_an_unknown_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--source", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none: expected kaggle:<owner>/<name>, s3://<bucket>/<prefix>, or an existing folder or zip file" in line
