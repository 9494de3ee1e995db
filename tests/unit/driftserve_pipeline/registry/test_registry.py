"""Tests of the commands for registered versions (approve, reject, compare, rollback), against moto over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config

from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.approval import approve, find_version, roll_back
from driftserve_pipeline.registry.registration import Registration, register
from driftserve_pipeline.registry.versions import champion, list_versions
from service_models import service_models_read_once

BUCKET, GROUP = "scenes", "scenes"


@dataclass(frozen=True)
class _Account:
    """An account with clients that are created once, because that takes longer than most tests."""

    environment: Mapping[str, str]
    sagemaker: Any
    s3: Any

    def approve(self, *numbers: int) -> None:
        for number in numbers:
            approve(self.sagemaker, self.s3, find_version(self.sagemaker, GROUP, str(number)), "better")

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=f"driftserve/executions/{key}")

    def statuses(self) -> dict[int, str]:
        return {version.version: version.status for version in list_versions(self.sagemaker, GROUP)}


@pytest.fixture(scope="module")
def aws() -> Iterator[_Account]:
    with local_aws() as environment, service_models_read_once():
        session = boto3.Session("local", "local", region_name="eu-central-1")
        url, config = environment["AWS_ENDPOINT_URL"], Config(proxies={})
        clients = (session.client(name, endpoint_url=url, config=config) for name in ("sagemaker", "s3"))
        yield _Account(environment, *clients)


@pytest.fixture
def registry(aws: _Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Account]:
    """An account with an empty bucket and registry; the environment points to it."""
    for name, value in {**aws.environment, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield aws
    urlopen(Request(f"{aws.environment['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()  # noqa: S310


def _register(account: _Account, number: int, accuracy: float = 0.9, images: str = "a" * 64, **given: str) -> str:
    """Register a version with its model data and evaluation in S3; return its ARN."""
    place = f"driftserve/executions/{number}"
    evaluation = {
        "multiclass_classification_metrics": {"accuracy": {"value": accuracy, "standard_deviation": 0.01}},
        "driftserve": {
            "macro_f1": {"value": accuracy - 0.01, "low": 0.8, "high": 0.95},
            "calibrated": {"ece": 0.02},
            "robustness": {"mean_corruption_accuracy": {"value": accuracy - 0.2, "low": 0.6, "high": 0.8}},
            "images": 300,
            "images_sha256": images,
            "network": "mobilenetv2_100",
        },
    }
    account.s3.put_object(Bucket=BUCKET, Key=f"{place}/model/model.tar.gz", Body=b"model")
    account.s3.put_object(
        Bucket=BUCKET, Key=f"{place}/evaluation/evaluation.json", Body=json.dumps(evaluation).encode()
    )
    metadata = {
        "accuracy": f"{accuracy:.4f}",
        "mean_corruption_accuracy": f"{accuracy - 0.2:.4f}",
        "archive_sha256": f"{number:064x}",
        "certificate": f"short {number}",
        **given,
    }
    address = f"s3://{BUCKET}/{place}"
    return register(
        account.sagemaker,
        Registration(
            GROUP, "serving:1", f"{address}/model/model.tar.gz", f"{address}/evaluation/evaluation.json", metadata
        ),
    )


def _done(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def test_the_newest_approved_version_is_the_champion(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    arns = [_register(registry, number) for number in (1, 2, 3)]
    assert "version 2 is approved; it is the champion" in _done(capsys, "approve", "2", "--reason", "better")
    said = _done(capsys, "approve", arns[0], "--reason", "also good")
    assert "version 1 is approved; version 2 is the champion" in said
    assert "no version is approved now" not in _done(capsys, "reject", "2", "--reason", "blurred\nseas")
    current = champion(registry.sagemaker, GROUP)
    assert current is not None
    assert current.version == 1
    described = registry.sagemaker.describe_model_package(ModelPackageName=arns[1])
    assert described["ApprovalDescription"] == "blurred seas"
    assert "no version is approved now" in _done(capsys, "reject", "1", "--reason", "old")
    assert registry.statuses() == {1: "Rejected", 2: "Rejected", 3: "PendingManualApproval"}


def test_a_decision_keeps_the_metadata_of_the_version(registry: _Account) -> None:
    _register(registry, 1)
    [before] = list_versions(registry.sagemaker, GROUP)
    registry.approve(1)
    [after] = list_versions(registry.sagemaker, GROUP)
    assert after.metadata == before.metadata != {}


def _register_foreign(account: _Account, status: str = "PendingManualApproval") -> None:
    """Register a version with two containers, like an inference pipeline that somebody registered by hand."""
    container = {"Image": "other:1", "ModelDataUrl": f"s3://{BUCKET}/other/model.tar.gz"}
    account.sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [container, container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )


def test_a_foreign_version_blocks_no_other(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    _register(registry, 1)
    _register_foreign(registry)
    assert "version 1 is approved; it is the champion" in _done(capsys, "approve", "1", "--reason", "better")
    _, foreign, ours = _done(capsys, "versions").splitlines()
    assert foreign.split()[:2] == ["2", "PendingManualApproval"]
    assert foreign.endswith("another kind of model: cannot serve")
    assert ours.endswith("champion")
    assert "PendingManualApproval" in _done(capsys, "compare", "1", "2")
    _register(registry, 3)
    assert "expected one container with its model data" in _refused(capsys, "approve", "2", "--reason", "x")
    assert "version 2 is rejected" in _done(capsys, "reject", "2", "--reason", "not ours")
    assert registry.statuses() == {1: "Approved", 2: "Rejected", 3: "PendingManualApproval"}


def test_an_approved_foreign_version_is_not_champion_and_can_be_rejected(
    registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        _register(registry, number)
    _register_foreign(registry, "Approved")
    registry.approve(1)
    with pytest.raises(PipelineError, match=r"/3: expected one container with its model data, .*; reject it"):
        champion(registry.sagemaker, GROUP)
    said = _done(capsys, "reject", "2", "--reason", "x")
    assert "version 2 is rejected; version 3, the newest approved one, is another kind of model" in said
    assert not any(version["is_champion"] for version in json.loads(_done(capsys, "versions", "--json")))
    assert "version 1 is the champion; rejected: 3" in _done(capsys, "rollback", "--reason", "not ours")
    assert registry.statuses() == {1: "Approved", 2: "Rejected", 3: "Rejected"}


def test_a_version_without_its_model_data_is_not_approved(
    registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    _register(registry, 1)
    registry.delete("1/model/model.tar.gz")
    said = _refused(capsys, "approve", "1", "--reason", "better")
    assert "expected its model data at s3://scenes/driftserve/executions/1/model/model.tar.gz, got no such" in said
    assert registry.statuses() == {1: "PendingManualApproval"}
    _done(capsys, "reject", "1", "--reason", "gone")


def test_a_version_with_an_invalid_model_data_address_is_not_approved(
    registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "https://scenes.s3.amazonaws.com/model.tar.gz"
    register(registry.sagemaker, Registration(GROUP, "serving:1", address, None, {}))
    said = _refused(capsys, "approve", "1", "--reason", "better")
    assert f"expected an address s3://BUCKET/KEY, got '{address}'" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("approve", "7", "--reason", "x"), "expected version 7, got 1"),
        (("reject", "one", "--reason", "x"), "expected version one, got 1"),
        (("approve", "1", "--reason", " "), "expected 1 to 1024 characters, got 0"),
        (("reject", "1", "--reason", "x" * 1025), "expected 1 to 1024 characters, got 1025"),
        (("compare", "1", "2"), "expected version 2"),
    ],
)
def test_an_invalid_decision_is_refused(
    arguments: tuple[str, ...], said: str, registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    _register(registry, 1)
    assert said in _refused(capsys, *arguments)
    assert registry.statuses() == {1: "PendingManualApproval"}


def test_versions_are_listed_with_the_champion_marked(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert _done(capsys, "versions") == "no version is registered in scenes\n"
    for number in (1, 2):
        _register(registry, number, accuracy=0.9 + number / 100)
    registry.approve(1)
    heading, second, first = _done(capsys, "versions").splitlines()
    assert heading.split()[:3] == ["version", "status", "accuracy"]
    assert second.split()[:3] == ["2", "PendingManualApproval", "0.9200"]
    assert "0.7100" in first
    assert "short 1" in first
    assert "000000000000" in first
    assert first.endswith("champion")
    assert not second.endswith("champion")
    listed = json.loads(_done(capsys, "versions", "--json"))
    assert [(version["version"], version["is_champion"]) for version in listed] == [(2, False), (1, True)]


def test_an_error_while_printing_gives_no_traceback(registry: _Account) -> None:
    assert registry
    command = [sys.executable, "-m", "driftserve_pipeline", "versions"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone, Path("/dev/full").open("wb") as full:
        processes = [subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) for stdout in (gone, full)]
        said = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 2]
    assert said == ["", "driftserve-pipeline: [Errno 28] No space left on device\n"]


def test_two_versions_are_compared_side_by_side(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    _register(registry, 1, accuracy=0.9, revision="abc")
    _register(registry, 2, accuracy=0.92)
    rows = {line.split()[0]: line.split()[1:] for line in _done(capsys, "compare", "1", "2").splitlines()}
    assert rows["difference"] == ["version", "1", "version", "2"]
    assert rows["accuracy"] == ["+0.02", "0.9000", "0.9200"]
    assert rows["mean_corruption_accuracy"] == ["+0.02", "0.7000", "0.7200"]
    assert rows["certificate"] == ["short", "1", "short", "2"]
    assert rows["archive_sha256"] == [f"{1:064x}", f"{2:064x}"]
    assert rows["revision"] == ["abc", "-"]
    assert "not" not in rows
    read = json.loads(_done(capsys, "compare", "2", "1", "--json"))
    assert read["rows"]["ece"] == [0.02, 0.02]
    assert read["same_test_images"] is True


def test_versions_without_common_test_images_are_marked_as_not_comparable(
    registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    _register(registry, 1)
    _register(registry, 2, images="b" * 64)
    assert "the test images may differ" in _done(capsys, "compare", "1", "2")
    for number in (1, 2):
        registry.delete(f"{number}/evaluation/evaluation.json")
    read = json.loads(_done(capsys, "compare", "1", "2", "--json"))
    assert read["rows"]["accuracy"] == ["0.9000", "0.9000"]  # from the metadata
    assert read["rows"]["ece"] == [None, None]
    assert read["same_test_images"] is False
    registry.s3.put_object(Bucket=BUCKET, Key="driftserve/executions/1/evaluation/evaluation.json", Body=b"{")
    assert "1/evaluation/evaluation.json: the evaluation is not JSON" in _refused(capsys, "compare", "1", "2")


def test_a_rollback_makes_the_previous_version_the_champion(
    registry: _Account, capsys: pytest.CaptureFixture[str]
) -> None:
    arns = [_register(registry, number) for number in (1, 2, 3)]
    registry.approve(1, 3)
    said = _done(capsys, "rollback", "--reason", "blurred seas")
    assert "version 1 is the champion; rejected: 3" in said
    assert "run `approve 1` again" in said
    assert registry.statuses() == {1: "Approved", 2: "PendingManualApproval", 3: "Rejected"}
    described = [registry.sagemaker.describe_model_package(ModelPackageName=arn) for arn in (arns[0], arns[2])]
    reasons = [package["ApprovalDescription"] for package in described]
    assert reasons == ["rolled back from version 3: blurred seas", "blurred seas"]
    assert "before the champion, got the approved versions 1;" in _refused(capsys, "rollback", "--reason", "again")


def test_a_rollback_to_a_version_rejects_all_later_ones(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3, 4):
        _register(registry, number)
    registry.approve(1, 2, 4)
    for to in ("3", "4", "7"):
        with pytest.raises(PipelineError, match=f"expected an approved version {to} before the champion"):
            roll_back(registry.sagemaker, registry.s3, GROUP, to, "x")
    done = json.loads(_done(capsys, "rollback", "--to", "1", "--reason", "x", "--json"))
    assert done["champion"].endswith("/1")
    assert [arn.rpartition("/")[2] for arn in done["rejected"]] == ["4", "2"]
    assert registry.statuses() == {1: "Approved", 2: "Rejected", 3: "PendingManualApproval", 4: "Rejected"}


def test_a_rollback_without_model_data_changes_nothing(registry: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        _register(registry, number)
        registry.approve(number)
    registry.delete("1/model/model.tar.gz")
    assert "expected its model data" in _refused(capsys, "rollback", "--reason", "x")
    assert registry.statuses() == {1: "Approved", 2: "Approved"}
