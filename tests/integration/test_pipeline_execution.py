"""Executions against an account: moto's server over HTTP, behind a fake that lets executions last."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.execution.report import read_report, wait
from fake_sagemaker_executions import FakeExecution, FakeExecutions, fake_sagemaker_executions

BUCKET = "scenes"
DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Model", "Type": "String", "DefaultValue": "mobilenetv2_100"},
            {"Name": "Epochs", "Type": "Integer", "DefaultValue": 7},
            {"Name": "LearningRate", "Type": "Float", "DefaultValue": 0.003},
            {"Name": "TrainLocation", "Type": "String", "DefaultValue": f"s3://{BUCKET}/2026"},
            {"Name": "TestLocation", "Type": "String", "DefaultValue": "none"},
            {"Name": "AnnotationRelease", "Type": "String", "DefaultValue": "none"},
            {"Name": "SourceDigest", "Type": "String", "DefaultValue": "none"},
        ],
        "Steps": [{"Name": "Fetch", "Type": "Processing", "Arguments": {}}],
    }
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeExecutions]:
    with local_aws() as environment, fake_sagemaker_executions(environment["AWS_ENDPOINT_URL"]) as fake:
        yield fake


@pytest.fixture
def account(fake: FakeExecutions, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExecutions]:
    """An account with a bucket of two images and the pipeline, which the environment leads to."""
    variables = {
        "AWS_ENDPOINT_URL": fake.moto,
        "AWS_ENDPOINT_URL_SAGEMAKER": fake.url,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "DRIFTSERVE_PIPELINE_ACCOUNT": "123456789012",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.Session().client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name in ("train/sea/1.jpg", "test/sea/2.jpg"):
        s3.put_object(Bucket=BUCKET, Key=f"2026/{name}", Body=name.encode())
    role = "arn:aws:iam::123456789012:role/driftserve"
    _sagemaker().create_pipeline(PipelineName="driftserve", PipelineDefinition=DEFINITION, RoleArn=role)
    yield fake
    urlopen(Request(f"{fake.moto}/moto-api/reset", method="POST")).close()  # noqa: S310
    fake.clear()


def _sagemaker() -> Any:
    return boto3.Session().client("sagemaker")


def _s3() -> Any:
    return boto3.Session().client("s3")


def _start(capsys: pytest.CaptureFixture[str], *arguments: str) -> Mapping[str, Any]:
    assert main(["start", "--json", *arguments]) == 0, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def test_starting_passes_every_parameter_and_the_digest_of_the_sources(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    started = _start(capsys, "--param", "Epochs=20")
    [execution] = account.executions.values()
    assert started["execution"] == execution.arn
    assert started["case"] == "started"
    given = {item["Name"]: item["Value"] for item in execution.request["PipelineParameters"]}
    assert given == started["parameters"]
    assert given["Epochs"] == "20"
    assert given["Model"] == "mobilenetv2_100"
    assert len(given["SourceDigest"]) == 64
    assert started["manifest_sha256"][:12] in execution.request["PipelineExecutionDisplayName"]


def test_two_starts_at_once_make_one_execution(account: FakeExecutions) -> None:
    account.together = threading.Barrier(2)  # neither has started when the other has looked
    command = [sys.executable, "-m", "driftserve_pipeline", "start", "--json"]
    processes = [subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert account.starts == 2
    assert len(account.executions) == 1
    assert {answer["execution"] for answer in answers} == set(account.executions)


def test_an_execution_of_the_same_manifest_is_given_back(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _start(capsys)
    assert _start(capsys) == {**first, "case": "running"}
    assert _start(capsys, "--again") == {**first, "case": "running"}
    account.executions[first["execution"]].status = "Succeeded"
    assert _start(capsys) == {**first, "case": "succeeded"}
    assert len(account.executions) == 1
    again = _start(capsys, "--again")
    assert again["case"] == "started"
    assert len(account.executions) == 2


def test_after_a_failure_the_same_manifest_starts_anew(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(4):  # more than a page
        started = _start(capsys)
        assert started["case"] == "started"
        account.executions[started["execution"]].status = "Failed"
    assert len(account.executions) == 4


def test_another_manifest_is_refused_while_an_execution_runs(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _start(capsys)
    assert f"got {first['execution']}" in _refused(capsys, "start", "--param", "Epochs=20")
    account.executions[first["execution"]].status = "Stopping"
    assert "Stopping" in _refused(capsys, "start", "--param", "Epochs=20")
    account.executions[first["execution"]].status = "Stopped"
    assert _start(capsys, "--param", "Epochs=20")["case"] == "started"


def test_of_two_manifests_started_at_once_the_later_one_is_stopped(account: FakeExecutions) -> None:
    account.together = threading.Barrier(2)
    command = [sys.executable, "-m", "driftserve_pipeline", "start"]
    processes = [
        subprocess.Popen([*command, "--param", f"Epochs={epochs}"], env=dict(os.environ), stderr=subprocess.PIPE)
        for epochs in (20, 30)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2]
    assert sorted(execution.status for execution in account.executions.values()) == ["Executing", "Stopping"]
    assert "stopped 000000000001 again" in "".join(said)


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        (lambda: None, False),
        (lambda: _s3().put_object(Bucket=BUCKET, Key="2026/train/sea/1.jpg", Body=b"of another content"), True),
        (lambda: _s3().put_object(Bucket=BUCKET, Key="2026/train/sea/3.jpg", Body=b"new"), True),
        (lambda: _s3().delete_object(Bucket=BUCKET, Key="2026/train/sea/1.jpg"), True),
        (lambda: _s3().put_object(Bucket=BUCKET, Key="2026-other/train/sea/1.jpg", Body=b"beside"), False),
        (lambda: _update_definition(Epochs=9), True),
        (lambda: _update_definition(), False),
    ],
    ids=["nothing", "content", "added", "removed", "beside", "definition", "written otherwise"],
)
def test_a_manifest_is_another_where_what_it_depends_on_is(
    change: Any, is_another: bool, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _start(capsys)
    account.executions[first["execution"]].status = "Succeeded"
    change()
    second = _start(capsys)
    assert (second["manifest_sha256"] != first["manifest_sha256"]) is is_another
    assert second["case"] == ("started" if is_another else "succeeded")


def _update_definition(**defaults: object) -> None:
    read = json.loads(DEFINITION)
    for parameter in read["Parameters"]:
        parameter["DefaultValue"] = defaults.get(parameter["Name"], parameter["DefaultValue"])
    _sagemaker().update_pipeline(PipelineName="driftserve", PipelineDefinition=json.dumps(read, indent=3))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("Epoch=20", "known are Model, Epochs, LearningRate"),
        ("Epochs", "expected NAME=VALUE"),
        ("Epochs=many", "expected a value of type Integer, as is 7, got 'many'"),
        ("Epochs=1_0", "type Integer"),
        ("LearningRate=nan", "type Float"),
        ("SourceDigest=0", "known are"),
        ("Model=" + "m" * 1025, "at most 1024 characters"),
        ("TrainLocation=s3://scenes/2027", "expected objects there, got none"),
        ("TrainLocation=/mnt/images", "expected s3://<bucket>/<prefix> or kaggle:"),
        ("TrainLocation=s3://elsewhere/2026", "NoSuchBucket"),
        ("AnnotationRelease=s3://scenes/releases/1.json", "expected objects there, got none"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_starts(
    assignment: str, said: str, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in _refused(capsys, "start", "--param", assignment)
    assert account.starts == 0


def test_a_data_set_of_kaggle_counts_by_its_name(account: FakeExecutions, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for location in ("kaggle:o/one", "kaggle:o/two"):
        started = _start(capsys, "--param", f"TrainLocation={location}")
        account.executions[started["execution"]].status = "Failed"
        digests.append(started["parameters"]["SourceDigest"])
    assert digests[0] != digests[1]


def test_without_a_pipeline_or_credentials_one_line_says_so(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert account
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DRIFTSERVE_PIPELINE_PIPELINE_NAME", "another")
        assert "run `upsert`" in _refused(capsys, "start")
        assert "expected an execution, got none" in _refused(capsys, "status")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "Unable to locate credentials" in _refused(capsys, "status")
    assert "Unable to locate credentials" in _refused(capsys, "start")


def _steps(account: FakeExecutions, arn: str) -> FakeExecution:
    """An execution whose training has failed after a cached fetch."""
    execution = account.executions[arn]
    execution.steps = [
        {
            "StepName": "Fetch",
            "StepStatus": "Succeeded",
            "StartTime": execution.started,
            "EndTime": execution.started + 1,
            "CacheHitResult": {"SourcePipelineExecutionArn": arn.replace("000000000000", "aaaaaaaaaaaa")},
            "Metadata": {"ProcessingJob": {"Arn": _job("processing-job", "pipelines-a-fetch")}},
        },
        {
            "StepName": "Preprocess",
            "StepStatus": "Succeeded",
            "StartTime": execution.started + 1,
            "EndTime": execution.started + 91,
            "Metadata": {"ProcessingJob": {"Arn": _job("processing-job", "pipelines-0-preprocess")}},
        },
        {
            "StepName": "Train",
            "StepStatus": "Failed",
            "StartTime": execution.started + 91,
            "EndTime": execution.started + 100,
            "AttemptCount": 3,
            "FailureReason": "AlgorithmError: expected images,\ngot none",
            "Metadata": {"TrainingJob": {"Arn": _job("training-job", "pipelines-0-train")}},
        },
    ]
    execution.status, execution.reason = "Failed", "Step failure: One or multiple steps failed."
    return execution


def _job(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:eu-central-1:123456789012:{kind}/{name}"


def test_status_shows_every_step(account: FakeExecutions, capsys: pytest.CaptureFixture[str]) -> None:
    arn = _start(capsys)["execution"]
    assert main(["status"]) == 0
    assert "Executing" in capsys.readouterr().out
    _steps(account, arn)
    assert main(["status", "--wait"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == ["Fetch: Succeeded", "Preprocess: Succeeded", "Train: Failed"]
    heading, status, reason, _, fetch, preprocess, train = said.out.splitlines()
    assert heading.startswith(arn)
    assert status.startswith("Failed, created ")
    assert reason == "Step failure: One or multiple steps failed."
    assert fetch.split() == ["Fetch", "Succeeded", "1", "s", "1", "yes"]
    assert preprocess.split() == ["Preprocess", "Succeeded", "90", "s", "1"]
    assert train.split(maxsplit=5) == ["Train", "Failed", "9", "s", "3", "AlgorithmError: expected images, got none"]


@pytest.mark.parametrize("by", ["arn", "id", "name"])
def test_status_of_an_older_execution(by: str, account: FakeExecutions, capsys: pytest.CaptureFixture[str]) -> None:
    older = _start(capsys)["execution"]
    _steps(account, older)
    newer = _start(capsys)["execution"]
    assert older != newer
    given = {"arn": older, "id": older[-12:], "name": account.executions[older].request["PipelineExecutionDisplayName"]}
    assert main(["status", given[by], "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["arn"], report["status"]) == (older, "Failed")
    assert [step["cached_from"] is not None for step in report["steps"]] == [True, False, False]
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arn"] == newer
    assert "expected an execution with the id or name 7" in _refused(capsys, "status", "7")


def test_waiting_polls_until_the_execution_is_over(account: FakeExecutions, capsys: pytest.CaptureFixture[str]) -> None:
    arn = _start(capsys)["execution"]
    client, said = _sagemaker(), []
    turns = iter(("Executing", "Executing", "Succeeded"))

    def sleep() -> None:
        execution = account.executions[arn]
        execution.status = next(turns)
        execution.steps = [{"StepName": "Fetch", "StepStatus": execution.status, "StartTime": execution.started}]

    report = wait(lambda: read_report(client, arn), sleep, said.append)
    assert report.status == "Succeeded"
    assert said == ["Fetch: Executing", "Fetch: Succeeded"]
    assert next(turns, None) is None
    assert main(["status", "--wait"]) == 0


def test_logs_of_all_hosts_come_in_the_order_of_time(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    _steps(account, _start(capsys)["execution"])
    group = "/aws/sagemaker/TrainingJobs"
    client = boto3.Session().client("logs")
    client.create_log_group(logGroupName=group)
    now = int(time.time() * 1000)
    written = {
        "pipelines-0-train/algo-1-17": [(now, "epoch=1 val_accuracy=0.5\n"), (now + 2, "epoch=2\x1b[2J")],
        "pipelines-0-train/algo-2-17": [(now + 1, "rank 1")],
        "pipelines-0-train-2/algo-1-17": [(now, "of another job")],
    }
    for stream, events in written.items():
        client.create_log_stream(logGroupName=group, logStreamName=stream)
        client.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": at, "message": message} for at, message in events],
        )
    assert main(["logs", "--step", "Train"]) == 0
    lines = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["algo-1-17 epoch=1 val_accuracy=0.5", "algo-2-17 rank 1", "algo-1-17 epoch=2 [2J"]
    assert "got Fetch, Preprocess, Train" in _refused(capsys, "logs", "--step", "Evaluate")
    assert "aaaaaaaaaaaa taken again; read the logs there" in _refused(capsys, "logs", "--step", "Fetch")
    assert "pipelines-0-preprocess in /aws/sagemaker/ProcessingJobs" in _refused(capsys, "logs", "--step", "Preprocess")


def test_a_definition_is_compared_and_deployed(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_PIPELINE_NAME", "scenes-pipeline")
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_TAGS", "project=driftserve,team=vision")
    file = tmp_path / "pipeline.json"
    file.write_text(DEFINITION)
    given = ("--definition", str(file))
    assert main(["diff", *given]) == 1  # there is none yet
    assert main(["upsert", *given]) == 0
    arn = capsys.readouterr().out.splitlines()[-1]
    deployed = _sagemaker().describe_pipeline(PipelineName="scenes-pipeline")
    assert deployed["PipelineDefinition"] == DEFINITION
    assert deployed["RoleArn"] == "arn:aws:iam::123456789012:role/driftserve-pipeline"
    assert _tags(arn) == {"project": "driftserve", "team": "vision"}
    file.write_text(json.dumps(json.loads(DEFINITION), indent=3))
    assert main(["diff", *given]) == 0
    assert capsys.readouterr().out == ""
    file.write_text(DEFINITION.replace("mobilenetv2_100", "resnet18"))
    assert main(["diff", *given]) == 1
    changes = [line for line in capsys.readouterr().out.splitlines() if line[0] in "+-"]
    assert changes == [
        "--- deployed",
        "+++ rendered",
        '-      "DefaultValue": "mobilenetv2_100",',
        '+      "DefaultValue": "resnet18",',
    ]
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_TAGS", "team=scenes")
    assert main(["upsert", *given]) == 0
    assert main(["diff", *given]) == 0
    assert _tags(arn) == {"project": "driftserve", "team": "scenes"}


def _tags(arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in _sagemaker().list_tags(ResourceArn=arn)["Tags"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "as JSON, got"), ("[]", "with Steps, got other JSON"), (None, "No such file")],
)
def test_what_is_no_definition_is_not_deployed(
    text: str | None, said: str, account: FakeExecutions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert account
    file = tmp_path / "pipeline.json"
    if text is not None:
        file.write_text(text)
    assert said in _refused(capsys, "upsert", "--definition", str(file))
    assert _sagemaker().describe_pipeline(PipelineName="driftserve")["PipelineDefinition"] == DEFINITION


def test_nothing_is_deployed_into_another_account(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    file = tmp_path / "pipeline.json"
    file.write_text(DEFINITION)
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_ACCOUNT", "111122223333")
    said = _refused(capsys, "upsert", "--definition", str(file))
    assert "expected the credentials of account 111122223333, got those of 123456789012" in said
