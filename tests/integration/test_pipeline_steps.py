"""Run the step programs as processes, in folders in place of /opt/ml, with moto as S3 and registry over HTTP."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from champion_archives import write_darkest
from checkout import ROOT
from driftserve.archive.contract import Contract, file_sha256
from driftserve.archive.reading import read_archive, read_contract
from driftserve.archive.writing import write_model_tarball
from driftserve.inference.verification import verify_archive
from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry import list_versions
from driftserve_pipeline.registry.registration import Registration, register, registration_request
from driftserve_pipeline.steps.champion import download_champion
from golden_pipelines import find_step, read_golden
from image_folders import add_companions, write_coloured
from processes import is_alive, running
from warm_interpreter import WarmInterpreter

pytestmark = pytest.mark.timeout(900)  # a slow machine must not fail the tests

TRAIN = ROOT / "container" / "train.py"
PATIENCE_SECONDS = 300
BUCKET = "steps"
IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/driftserve:1"
HYPERPARAMETERS = {"model": "test_resnet", "pretrained": "false", "image_size": "32", "epochs": "6"}
HYPERPARAMETERS |= {"batch_size": "16", "product": "run", "revision": "0c1c9ba", "learning_rate": "0.02"}


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    with local_aws() as environment:
        yield environment | {"AWS_EC2_METADATA_DISABLED": "true"}


def _client(aws: Mapping[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="module")
def s3(aws: dict[str, str]) -> Any:
    client = _client(aws, "s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws["AWS_DEFAULT_REGION"]})
    return client


@pytest.fixture(scope="module")
def sagemaker(aws: dict[str, str]) -> Any:
    return _client(aws, "sagemaker")


def _upload(s3: Any, folder: Path, prefix: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return f"s3://{BUCKET}/{prefix}"


class Steps:
    """Runs step programs. They run in forks of the warm interpreter, unless `cold`."""

    def __init__(self, warm: WarmInterpreter) -> None:
        self._warm = warm

    def run(
        self, base: Path, aws: Mapping[str, str], *arguments: str, cold: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a step to its end."""
        environment = {"SAGEMAKER_BASE_DIR": str(base), **aws}
        if not cold:
            program = ("driftserve_pipeline.steps", *arguments)
            python = self._warm.python
            return self._warm.run(
                *program, environment=environment, timeout_seconds=PATIENCE_SECONDS, executable=python
            )
        return subprocess.run(
            [sys.executable, "-m", "driftserve_pipeline.steps", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=PATIENCE_SECONDS,
        )

    def succeed(self, base: Path, aws: Mapping[str, str], *arguments: str, cold: bool = False) -> str:
        """Run a step that succeeds; return its stdout."""
        done = self.run(base, aws, *arguments, cold=cold)
        assert done.returncode == 0, done.stderr
        assert not (base / "output" / "message").exists()
        return done.stdout

    def failure(self, base: Path, aws: Mapping[str, str], *arguments: str, cold: bool = False) -> str:
        """Run a step that fails; return the line that SageMaker would show."""
        done = self.run(base, aws, *arguments, cold=cold)
        assert done.returncode == 1, done.stderr
        (line,) = (base / "output" / "message").read_text().splitlines()
        assert done.stderr.splitlines()[-1] == f"driftserve_pipeline.steps: {line}"
        return line


@pytest.fixture(scope="module")
def steps(warm: WarmInterpreter) -> Steps:
    return Steps(warm)


def _input(base: Path, channel: str, folder: Path) -> None:
    (base / "processing" / "input").mkdir(parents=True, exist_ok=True)
    (base / "processing" / "input" / channel).symlink_to(folder)


@pytest.fixture(scope="module")
def prepared(steps: Steps, aws: dict[str, str], s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of Fetch and Preprocess for images with a separate test location."""
    base = tmp_path_factory.mktemp("preparing")
    train = _upload(s3, write_coloured(base / "train", 24, seed=1), "2026/seg_train")
    test = _upload(s3, write_coloured(base / "test", 8, seed=2), "held-out")
    (base / "processing/output/fetched").mkdir(parents=True)
    (base / "processing/output/fetched/left").touch()  # left by a killed attempt
    said = steps.succeed(base, aws, "fetch", "--source", train, "--test-source", test, "--digest", "none", cold=True)
    assert json.loads(said.splitlines()[1])["images"] == {"train": 72, "test": 24}
    _input(base, "fetched", base / "processing" / "output" / "fetched")
    steps.succeed(base, aws, "preprocess", "--annotations", "none")
    return base / "processing" / "output" / "prepared"


def test_a_search_writes_its_best_in_the_format_of_a_training_job(steps: Steps, prepared: Path, tmp_path: Path) -> None:
    _input(tmp_path, "data", prepared)
    searched = (
        "--choice",
        "model=test_resnet",
        "--choice",
        "optimizer=adamw,sgd",
        "--range",
        "learning_rate=0.002,0.02",
    )
    fixed = HYPERPARAMETERS | {"epochs": "1", "name": "coast"}
    fixed = {name: value for name, value in fixed.items() if name not in ("model", "learning_rate")}
    said = steps.succeed(
        tmp_path,
        {},
        *("tune", *searched, "--trials", "2"),
        *(part for pair in fixed.items() for part in ("--fixed", "=".join(pair))),
    )
    best = json.loads((tmp_path / "processing/output/best/best.json").read_text())
    assert json.loads(said)["trials"] == {"complete": 2}
    assert best == {name: str(value) for name, value in json.loads(said)["parameters"].items()}
    assert (best["model"], best["optimizer"] in ("adamw", "sgd")) == ("test_resnet", True)
    assert 0.002 <= float(best["learning_rate"]) <= 0.02
    assert "| test_resnet |" in (tmp_path / "processing/output/best/table.md").read_text()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("a.safetensors",), r"weights/a\.safetensors: expected weights of test_resnet, got weights of resnet18"),
        (
            ("a.safetensors", "b.safetensors"),
            r"weights: expected one weights file of test_resnet, got a\.safetensors of resnet18",
        ),
    ],
)
def test_a_search_starts_from_the_weights_of_its_channel(
    steps: Steps, files: tuple[str, ...], said: str, prepared: Path, tmp_path: Path
) -> None:
    _input(tmp_path, "data", prepared)
    weights = tmp_path / "processing/input/weights"
    weights.mkdir()
    for file in files:
        (weights / file).touch()
    record = {"model": "resnet18", "mean": [0.5] * 3, "std": [0.2] * 3, "input_size": [3, 64, 64]}
    (weights / "a.safetensors.json").write_text(json.dumps(record))
    add_companions(weights)
    searched = ("--choice", "model=test_resnet", "--choice", "optimizer=sgd", "--range", "learning_rate=0.002,0.02")
    assert re.search(said, steps.failure(tmp_path, {}, "tune", *searched, "--trials", "1"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--choice", "model=a"), "--choice: expected model, optimizer, each once, got model"),
        (("--choice", "model"), "argument --choice: expected NAME=VALUE, got 'model'; "),
    ],
)
def test_a_search_over_unknown_parameters_is_refused(
    steps: Steps, arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    assert steps.failure(tmp_path, {}, "tune", "--trials", "2", *arguments).startswith(said)


@pytest.fixture(scope="module")
def packed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training job's model.tar.gz, as SageMaker writes it."""
    base = tmp_path_factory.mktemp("training")
    (base / "input/config").mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    (base / "input/data").mkdir()
    (base / "input/data/data").symlink_to(prepared)
    (base / "model/run").mkdir(parents=True)
    (base / "model/run/left").touch()  # left by an earlier job
    done = subprocess.run(
        [sys.executable, TRAIN],
        capture_output=True,
        text=True,
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)},
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["run"] == str(base / "model" / "run")
    assert [path.name for path in (base / "model").iterdir()] == ["run"]
    assert not {"left", "checkpoints"} & {path.name for path in (base / "model/run").iterdir()}
    shutil.rmtree(base / "output")  # another machine does not have it
    return _pack(base / "packed", base / "model")


def _pack(folder: Path, model: Path) -> Path:
    """Pack a folder's files as model.tar.gz in a new folder, like SageMaker; return the new folder."""
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tarball:
        tarball.add(model, ".")
    return folder


def _upload_model(aws: Mapping[str, str], group: str, archive: Path) -> str:
    """Upload an archive as the model data of a group's version; return its address."""
    write_model_tarball(archive, archive.with_name("model.tar.gz"))
    _client(aws, "s3").upload_file(str(archive.with_name("model.tar.gz")), BUCKET, f"models/{group}/model.tar.gz")
    return f"s3://{BUCKET}/models/{group}/model.tar.gz"


def _approve(aws: Mapping[str, str], group: str, archive: Path) -> str:
    """Make an archive the champion of a group; return its ARN."""
    sagemaker, url = _client(aws, "sagemaker"), _upload_model(aws, group, archive)
    metadata = {"accuracy": "0.9", "archive_sha256": read_archive(archive)[1]}
    arn = register(sagemaker, Registration(group, IMAGE, url, None, metadata))
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    return arn


@pytest.fixture
def evaluating(tmp_path: Path, prepared: Path, packed: Path) -> Path:
    """The folders of an Evaluate job."""
    _input(tmp_path, "run", packed)
    _input(tmp_path, "data", prepared)
    return tmp_path


def _named(group: str) -> tuple[str, ...]:
    return ("--group", group, "--name", "coast", "--version", "0a1b2c", "--threshold", "0.4")


def _evaluate(steps: Steps, base: Path, aws: Mapping[str, str], group: str, *arguments: str) -> dict[str, Any]:
    steps.succeed(base, aws, "evaluate", *_named(group), *arguments)
    verdict: dict[str, Any] = json.loads((base / "processing/output/evaluation/verdict.json").read_text())
    assert all(isinstance(value, str) for value in verdict["metadata"].values())
    return verdict


def test_a_run_that_beats_the_champion_becomes_a_valid_archive_with_a_verdict(
    steps: Steps, evaluating: Path, aws: dict[str, str], sagemaker: Any, contract: Contract, golden: Mapping[str, bytes]
) -> None:
    (evaluating / "champion").mkdir()
    best = _approve(aws, "worse", write_darkest(evaluating / "champion", contract, golden))
    verdict = _evaluate(steps, evaluating, aws, "worse", "--robustness-images", "2", "--explained-images", "1")
    evidence = evaluating / "processing/output/evaluation"
    assert {path.name for path in evidence.iterdir()} >= {"evaluation.json", "card.html", "card.json", "explanations"}
    assert (verdict["beats_champion"], verdict["champion"]) == (1, best)
    assert verdict["reason"].startswith("the model passes: accuracy 0.")
    assert f"the champion {best} alone on 0 (p " in verdict["reason"]
    with tarfile.open(evaluating / "processing/output/model/model.tar.gz") as tarball:
        tarball.extractall(evaluating / "served", filter="data")
    verified = verify_archive(evaluating / "served" / "coast.mar", evaluating / "verified", allowed=())
    written, metadata = verified.contract, verdict["metadata"]
    assert (written.display_name, verified.digest) == ("coast/0a1b2c", metadata["archive_sha256"])
    assert written.provenance["revision"] == "0c1c9ba"
    assert metadata["card_sha256"] == file_sha256(evidence / "card.json") == written.provenance["card_sha256"]
    assert metadata["manifest_sha256"] == written.provenance["manifest_sha256"]
    assert metadata["accuracy"] == f"{verdict['accuracy']:.4f}" == f"{written.evaluation['test_accuracy']:.4f}"
    assert metadata["mean_corruption_accuracy"] == f"{written.evaluation['mean_corruption_accuracy']:.4f}"
    assert metadata["certificate"].startswith("short - ")
    assert (metadata["champion"], float(metadata["p_value"]) < 0.01) == (best, True)
    sagemakers = find_step(read_golden("pipeline.json"), "Register")["Arguments"]["CustomerMetadataProperties"]
    assert set(sagemakers) == {*metadata, "revision", "execution"}

    base = evaluating / "registering"
    _input(base, "evaluation", evidence)
    place = f"s3://{BUCKET}/executions/0a1b2c"
    arguments = ("--group", "worse", "--image", IMAGE, "--model-data-url", f"{place}/model/model.tar.gz")
    arguments += ("--evaluation-url", f"{place}/evaluation/evaluation.json")
    arguments += ("--revision", "0c1c9ba", "--execution", "0a1b2c")
    said = json.loads(steps.succeed(base, aws, "register", *arguments))
    version, _ = list_versions(sagemaker, "worse")
    assert version.arn == said["model_package"]
    assert version.status == "PendingManualApproval"
    assert version.metadata == metadata | {"revision": "0c1c9ba", "execution": "0a1b2c"}
    assert version.environment == {"DRIFTSERVE_ARCHIVE_SHA256": verified.digest}


def test_a_champion_is_downloaded_with_its_classes(
    aws: dict[str, str], s3: Any, sagemaker: Any, contract: Contract, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    assert download_champion(sagemaker, s3, "none", tmp_path / "none") is None
    arn = _approve(aws, "other", write_darkest(tmp_path, contract, golden, ("red", "green", "grey")))
    downloaded = download_champion(sagemaker, s3, "other", tmp_path / "other")
    assert downloaded is not None
    assert (downloaded.arn, downloaded.labels) == (arn, ("red", "green", "grey"))
    assert read_contract(downloaded.archive).labels == downloaded.labels
    assert downloaded.is_comparable(("green", "grey", "red"))
    assert not downloaded.is_comparable(("blue", "green", "red"))
    (tmp_path / "model").mkdir()
    shutil.copy(downloaded.archive, tmp_path / "model")
    add_companions(tmp_path / "model")  # as macOS's tar packs them
    packed = _pack(tmp_path / "again", tmp_path / "model") / "model.tar.gz"
    s3.upload_file(str(packed), BUCKET, "models/other/model.tar.gz")
    again = download_champion(sagemaker, s3, "other", tmp_path / "again" / "other")
    assert again is not None
    assert again.archive.read_bytes() == downloaded.archive.read_bytes()


def test_another_archive_in_the_champions_place_is_refused_before_its_graph_runs(
    steps: Steps, evaluating: Path, aws: dict[str, str], archive: Path, contract: Contract, golden: Mapping[str, bytes]
) -> None:
    arn = _approve(aws, "swapped", Path(shutil.copy(archive, evaluating)))
    (evaluating / "other").mkdir()
    other = write_darkest(evaluating / "other", contract, golden)
    _upload_model(aws, "swapped", other)
    assert steps.failure(evaluating, aws, "evaluate", *_named("swapped")) == (
        f"{arn}: expected the registered archive, whose content digest is {read_archive(archive)[1]}, in "
        f"s3://{BUCKET}/models/swapped/model.tar.gz, got {read_archive(other)[1]}; restore it, or reject that version"
    )
    assert not list((evaluating / "processing/output/evaluation").iterdir())


def test_a_champion_without_one_digest_in_the_registry_is_refused(
    aws: dict[str, str], s3: Any, sagemaker: Any, archive: Path, tmp_path: Path
) -> None:
    url = _upload_model(aws, "undigested", Path(shutil.copy(archive, tmp_path)))
    register(sagemaker, Registration("undigested", IMAGE, url, None, {"accuracy": "0.9"}))
    (version,) = list_versions(sagemaker, "undigested")
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Approved")
    with pytest.raises(PipelineError, match=rf"{version.arn}: expected one content digest, .* got none"):
        download_champion(sagemaker, s3, "undigested", tmp_path / "undigested")


def test_a_champion_that_an_older_driftserve_registered_is_compared_by_its_metadata(
    aws: dict[str, str], s3: Any, sagemaker: Any, archive: Path, tmp_path: Path
) -> None:
    url = _upload_model(aws, "older", Path(shutil.copy(archive, tmp_path)))
    metadata = {"archive_sha256": read_archive(archive)[1]}
    request = registration_request(group="older", image=IMAGE, model_data_url=url, evaluation_url=None, metadata={})
    sagemaker.create_model_package_group(ModelPackageGroupName="older")
    arn = sagemaker.create_model_package(**request | {"CustomerMetadataProperties": metadata})["ModelPackageArn"]
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", CustomerMetadataProperties=metadata
    )
    found = download_champion(sagemaker, s3, "older", tmp_path / "older")
    assert found is not None
    assert found.arn == arn


def test_the_error_for_a_champion_without_its_archive_names_it(
    steps: Steps, evaluating: Path, aws: dict[str, str], s3: Any, archive: Path
) -> None:
    arn = _approve(aws, "gone", Path(shutil.copy(archive, evaluating)))
    s3.delete_object(Bucket=BUCKET, Key="models/gone/model.tar.gz")
    reason = steps.failure(evaluating, aws, "evaluate", *_named("gone"))
    assert reason.startswith(f"{arn}: cannot download its model data from s3://steps/models/gone/model.tar.gz: ")


def test_a_model_without_a_run_is_refused(steps: Steps, tmp_path: Path, aws: dict[str, str], archive: Path) -> None:
    _input(tmp_path, "run", _pack(tmp_path / "packed", archive.parent))
    reason = steps.failure(tmp_path, aws, "evaluate", *_named("none"))
    assert reason.endswith("model.tar.gz: expected the folder run/, got none; train with product=run")


def test_a_wrong_argument_is_written_as_the_failure_reason(steps: Steps, tmp_path: Path) -> None:
    reason = steps.failure(tmp_path, {}, "evaluate", *_named("none"), "--threshold", "high")
    assert reason.startswith("argument --threshold: invalid float value: 'high'; ")


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("nowhere", "s3://steps/nowhere: expected objects below that prefix, got none; correct the address"),
        (
            "broken",
            "s3://steps/broken: expected the folders .* with <class>/<image> in each, got no test; found train/",
        ),
    ],
)
def test_a_wrong_prefix_and_a_missing_split_fail_in_fetch(
    steps: Steps, prefix: str, said: str, aws: dict[str, str], s3: Any, tmp_path: Path
) -> None:
    _upload(s3, write_coloured(tmp_path / "train", 2, seed=1), "broken/train")
    assert re.search(said, steps.failure(tmp_path, aws, "fetch", "--source", f"s3://{BUCKET}/{prefix}"))
    assert not list((tmp_path / "processing/output/fetched").iterdir())


@pytest.mark.parametrize(
    ("unusable", "said"),
    [
        ("image", r"train/red/1\.png \(corrupt.*, or leave them out with the parameter UnusableImages=drop"),
        ("class", "expected images of every class in every split, got no green in test"),
    ],
)
def test_a_corrupt_image_and_an_empty_class_fail_in_preprocess(
    steps: Steps, unusable: str, said: str, aws: dict[str, str], tmp_path: Path
) -> None:
    data, base = tmp_path / "data", tmp_path / "ml"
    write_coloured(data / "train", 3, seed=1)
    write_coloured(data / "test", 1, seed=2)
    if unusable == "image":
        (data / "train/red/1.png").write_bytes((data / "train/red/1.png").read_bytes()[:900])
    else:  # Fetch leaves this for a prefix without objects
        shutil.rmtree(data / "test/green")
    _input(base, "fetched", data)
    assert re.search(said, steps.failure(base, aws, "preprocess"))
    assert not list((base / "processing/output/prepared").iterdir())


def test_unusable_images_are_dropped_if_allowed(steps: Steps, aws: dict[str, str], tmp_path: Path) -> None:
    write_coloured(tmp_path / "data/train", 3, seed=1)
    write_coloured(tmp_path / "data/test", 1, seed=2)
    image = tmp_path / "data/train/red/1.png"
    shutil.copyfile(image, image.with_name("again.png"))
    image.write_bytes(image.read_bytes()[:900])
    shutil.copyfile(image.with_name("2.png"), tmp_path / "data/train/blue/2.png")
    _input(tmp_path, "fetched", tmp_path / "data")
    steps.succeed(tmp_path, aws, "preprocess", "--unusable-images", "drop")
    rejected = (tmp_path / "processing/output/prepared/rejected.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rejected] == [
        "path",
        "train/blue/2.png",
        "train/red/1.png",
        "train/red/2.png",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_step_also_stops_its_command(tmp_path: Path, aws: dict[str, str], number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = dict(aws) | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        environment |= {"SAGEMAKER_BASE_DIR": str(tmp_path)}
        arguments = ("driftserve_pipeline.steps", "fetch", "--source", "s3://steps/any")
        with running(*arguments, environment=environment, log=tmp_path / "log") as step:
            connection, _ = silent.accept()  # the step is waiting for a response
            (command,) = psutil.Process(step.pid).children()
            step.send_signal(number)
            assert step.wait(PATIENCE_SECONDS) == 128 + number
            connection.close()
    assert not is_alive(command)
    assert (tmp_path / "output/message").read_text() == f"ended by {number.name}: the job was stopped\n"
