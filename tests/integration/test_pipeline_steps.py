"""The step programs as processes, in folders that stand for /opt/ml, against moto's S3 and registry over HTTP."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import torch

from driftserve.archive import read_contract, write_archive, write_model_tarball
from driftserve.contract import Contract, GoldenImage, file_sha256
from driftserve.decode import decode
from driftserve.model import Model
from driftserve.prediction import calibrate, to_prediction
from driftserve.preprocess import preprocess
from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.registry import champion, list_versions
from driftserve_pipeline.registry.registration import Registration, register
from images import LABELS, encode

TRAIN = Path(__file__).parents[2] / "container" / "train.py"
BUCKET = "scenes"
IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/driftserve:1"
HYPERPARAMETERS = {"model": "test_resnet", "pretrained": "false", "image_size": "32", "epochs": "6"}
HYPERPARAMETERS |= {"batch_size": "16", "product": "run", "revision": "0c1c9ba", "learning_rate": "0.02"}
QUICK = ("--robustness-images", "0", "--explained-images", "0")


def _coloured(folder: Path, images: int, seed: int) -> Path:
    """`<class>/<number>.png`: images in which the channel that the class is named after leads, mostly by little."""
    generator = np.random.default_rng(seed)
    for channel, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for number in range(images):
            level = generator.normal(110, 12, 3)
            level[channel] = level.max() + generator.uniform(2, 30)
            pixels = generator.normal(level, 15, (48, 64, 3)).clip(0, 255).astype(np.uint8)
            (folder / label / f"{number}.png").write_bytes(encode(pixels))
    return folder


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


def _step(base: Path, aws: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "driftserve_pipeline.steps", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)} | aws,
        timeout=120,
    )


def _succeed(base: Path, aws: Mapping[str, str], *arguments: str) -> str:
    done = _step(base, aws, *arguments)
    assert done.returncode == 0, done.stderr
    assert not (base / "output" / "message").exists()
    return done.stdout


def _failure(base: Path, aws: Mapping[str, str], *arguments: str) -> str:
    """The one line that SageMaker would show."""
    done = _step(base, aws, *arguments)
    assert done.returncode == 1, done.stderr
    (line,) = (base / "output" / "message").read_text().splitlines()
    assert done.stderr.splitlines()[-1] == f"driftserve_pipeline.steps: {line}"
    return line


def _input(base: Path, channel: str, folder: Path) -> None:
    (base / "processing" / "input").mkdir(parents=True, exist_ok=True)
    (base / "processing" / "input" / channel).symlink_to(folder)


@pytest.fixture(scope="module")
def prepared(aws: dict[str, str], s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Fetch and Preprocess leave of images whose test part lies elsewhere."""
    base = tmp_path_factory.mktemp("preparing")
    train = _upload(s3, _coloured(base / "train", 24, seed=1), "2026/seg_train")
    test = _upload(s3, _coloured(base / "test", 8, seed=2), "held-out")
    (base / "processing/output/fetched").mkdir(parents=True)
    (base / "processing/output/fetched/left").touch()  # by a try that was killed
    said = _succeed(base, aws, "fetch", "--source", train, "--test-source", test, "--digest", "none")
    assert json.loads(said.splitlines()[1])["images"] == {"train": 72, "test": 24}
    _input(base, "fetched", base / "processing" / "output" / "fetched")
    _succeed(base, aws, "preprocess", "--annotations", "none")
    return base / "processing" / "output" / "prepared"


@pytest.fixture(scope="module")
def packed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the model.tar.gz that SageMaker makes of a training job."""
    base = tmp_path_factory.mktemp("training")
    (base / "input/config").mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    (base / "input/data").mkdir()
    (base / "input/data/data").symlink_to(prepared)
    (base / "model/run").mkdir(parents=True)
    (base / "model/run/left").touch()  # by an earlier job
    done = subprocess.run(
        [sys.executable, TRAIN], capture_output=True, text=True, env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["run"] == str(base / "model" / "run")
    assert [path.name for path in (base / "model").iterdir()] == ["run"]
    assert not {"left", "checkpoints"} & {path.name for path in (base / "model/run").iterdir()}
    (base / "packed").mkdir()
    with tarfile.open(base / "packed" / "model.tar.gz", "w:gz") as tarball:
        tarball.add(base / "model", ".")
    shutil.rmtree(base / "output")  # on another machine there is no more of it
    return base / "packed"


class Darkest(torch.nn.Module):
    """Says the channel that leads least."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64
        return -means, means - 2


@pytest.fixture(scope="module")
def darkest(contract: Contract, golden: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive like the tiny one, that is nearly always wrong."""
    folder = tmp_path_factory.mktemp("darkest")
    torch.jit.script(Darkest()).save(str(folder / "model.pt"))
    spec = contract.image_spec
    model = Model(folder / "model.pt", spec.height, spec.width)
    answers = {name: calibrate(model(preprocess([decode(png)], spec)).logits, 1.0)[0] for name, png in golden.items()}
    images = tuple(
        GoldenImage(file=name, label=to_prediction(row, LABELS).label, probabilities=tuple(row.tolist()))
        for name, row in answers.items()
    )
    return write_archive(folder, contract.model_copy(update={"golden": images}), folder / "model.pt", golden)


def _approve(aws: Mapping[str, str], group: str, archive: Path) -> str:
    """Make an archive the champion of a group; its ARN."""
    s3, sagemaker = _client(aws, "s3"), _client(aws, "sagemaker")
    write_model_tarball(archive, archive.with_name("model.tar.gz"))
    s3.upload_file(str(archive.with_name("model.tar.gz")), BUCKET, f"models/{group}/model.tar.gz")
    url = f"s3://{BUCKET}/models/{group}/model.tar.gz"
    arn = register(sagemaker, Registration(group, IMAGE, url, None, {"accuracy": "0.9"}))
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    return arn


@pytest.fixture
def evaluating(tmp_path: Path, prepared: Path, packed: Path) -> Path:
    """The folders of an Evaluate job."""
    _input(tmp_path, "run", packed)
    _input(tmp_path, "data", prepared)
    return tmp_path


def _evaluate(base: Path, aws: Mapping[str, str], group: str, *arguments: str) -> dict[str, Any]:
    named = ("--group", group, "--name", "coast", "--version", "0a1b2c", "--threshold", "0.4")
    _succeed(base, aws, "evaluate", *named, *arguments)
    verdict: dict[str, Any] = json.loads((base / "processing/output/evaluation/verdict.json").read_text())
    assert all(isinstance(value, str) for value in verdict["metadata"].values())
    return verdict


def test_without_a_champion_a_run_becomes_an_archive_that_is_accepted_and_registered(
    evaluating: Path, aws: dict[str, str], sagemaker: Any
) -> None:
    verdict = _evaluate(evaluating, aws, "first", "--robustness-images", "2", "--explained-images", "2")
    evidence = evaluating / "processing/output/evaluation"
    assert {path.name for path in evidence.iterdir()} >= {"evaluation.json", "card.html", "card.json", "explanations"}
    assert verdict["beats_champion"] == 1
    assert verdict["reason"].startswith("nothing speaks against it: accuracy 0.")
    assert "no version is approved yet" in verdict["reason"]
    with tarfile.open(evaluating / "processing/output/model/model.tar.gz") as tarball:
        tarball.extractall(evaluating / "served", filter="data")
    verified = subprocess.run(
        [sys.executable, "-m", "driftserve", "verify", str(evaluating / "served")], capture_output=True, text=True
    )
    contract = read_contract(evaluating / "served" / "coast.mar")
    metadata = verdict["metadata"]
    assert verified.stdout.split() == ["coast/0a1b2c", metadata["archive_sha256"]]
    assert metadata["card_sha256"] == file_sha256(evidence / "card.json") == contract.provenance["card_sha256"]
    assert metadata["manifest_sha256"] == contract.provenance["manifest_sha256"]
    assert contract.provenance["revision"] == "0c1c9ba"
    assert metadata["accuracy"] == f"{verdict['accuracy']:.4f}" == f"{contract.evaluation['test_accuracy']:.4f}"
    assert metadata["mean_corruption_accuracy"] == f"{contract.evaluation['mean_corruption_accuracy']:.4f}"
    assert (metadata["champion"], metadata["p_value"]) == ("none", "none")
    assert metadata["certificate"].startswith("short - ")

    base = evaluating / "registering"
    _input(base, "evaluation", evidence)
    place = f"s3://{BUCKET}/executions/0a1b2c"
    arguments = ("--group", "first", "--image", IMAGE, "--model-data-url", f"{place}/model/model.tar.gz")
    arguments += ("--evaluation-url", f"{place}/evaluation/evaluation.json")
    arguments += ("--revision", "0c1c9ba", "--execution", "0a1b2c")
    said = json.loads(_succeed(base, aws, "register", *arguments))
    (version,) = list_versions(sagemaker, "first")
    assert version.arn == said["model_package"]
    assert version.status == "PendingManualApproval"
    assert version.metadata == metadata | {"revision": "0c1c9ba", "execution": "0a1b2c"}
    assert champion(sagemaker, "first") is None


def test_a_better_champion_is_not_beaten(evaluating: Path, aws: dict[str, str], archive: Path, tmp_path: Path) -> None:
    arn = _approve(aws, "better", Path(shutil.copy(archive, tmp_path)))
    verdict = _evaluate(evaluating, aws, "better", *QUICK)
    assert (verdict["beats_champion"], verdict["champion"]) == (0, arn)
    assert verdict["reason"].startswith("the champion is not beaten: accuracy 0.")
    assert f"by the champion {arn} alone (p " in verdict["reason"]
