"""Tests of the commands start, status, logs, diff and upsert, against moto over HTTP and a fake for executions."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config

from checkout import ROOT
from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.execution import find_execution
from driftserve_pipeline.execution.parameter import declared_parameters, resolve
from driftserve_pipeline.execution.report import read_report, wait
from driftserve_pipeline.execution.start import Manifest, Started, read_manifest, start
from fake_sagemaker_executions import FakeExecution, FakeExecutions, fake_sagemaker_executions
from service_models import service_models_read_once

BUCKET = "scenes"
GOLDEN = ROOT / "tests" / "golden"
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


@dataclass(frozen=True)
class _Clients:
    """The clients of the tests. They are created once, because that takes longer than most tests."""

    fake: FakeExecutions
    sagemaker: Any
    s3: Any

    def manifest(self, *assignments: str) -> Manifest:
        return read_manifest(self.sagemaker, self.s3, "driftserve", assignments)

    def start(self, *assignments: str, again: bool = False) -> Started:
        return start(self.sagemaker, "driftserve", self.manifest(*assignments), again=again)

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def update(self, **defaults: object) -> None:
        """Update the pipeline's definition: change defaults and the formatting."""
        read = json.loads(DEFINITION)
        for parameter in read["Parameters"]:
            parameter["DefaultValue"] = defaults.get(parameter["Name"], parameter["DefaultValue"])
        self.sagemaker.update_pipeline(PipelineName="driftserve", PipelineDefinition=json.dumps(read, indent=3))


@pytest.fixture(scope="module")
def module_clients() -> Iterator[_Clients]:
    with (
        local_aws() as environment,
        fake_sagemaker_executions(environment["AWS_ENDPOINT_URL"]) as fake,
        service_models_read_once(),
    ):
        session = boto3.Session("local", "local", region_name="eu-central-1")
        yield _Clients(
            fake,
            session.client("sagemaker", endpoint_url=fake.url, config=Config(proxies={})),
            session.client("s3", endpoint_url=fake.moto, config=Config(proxies={})),
        )


@pytest.fixture
def clients(module_clients: _Clients, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Clients]:
    """Clients of an account with the pipeline and a bucket of two images; the environment points to it."""
    fake = module_clients.fake
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
    module_clients.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name in ("train/sea/1.jpg", "test/sea/2.jpg"):
        module_clients.put(f"2026/{name}", name.encode())
    role = "arn:aws:iam::123456789012:role/driftserve"
    module_clients.sagemaker.create_pipeline(PipelineName="driftserve", PipelineDefinition=DEFINITION, RoleArn=role)
    yield module_clients
    urlopen(Request(f"{fake.moto}/moto-api/reset", method="POST")).close()  # noqa: S310
    fake.clear()


@pytest.fixture
def account(clients: _Clients) -> FakeExecutions:
    """The executions of the account."""
    return clients.fake


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


def test_two_concurrent_starts_make_one_execution(account: FakeExecutions) -> None:
    account.together = threading.Barrier(2)  # both have looked for an execution before either starts one
    command = [sys.executable, "-m", "driftserve_pipeline", "start", "--json"]
    processes = [subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert account.starts == 2
    assert len(account.executions) == 1
    assert {answer["execution"] for answer in answers} == set(account.executions)


def test_an_execution_of_the_same_manifest_is_returned(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = clients.start()
    assert first.case == "started"
    assert clients.start() == replace(first, case="running")
    assert clients.start(again=True) == replace(first, case="running")
    account.executions[first.arn].status = "Succeeded"
    assert clients.start() == replace(first, case="succeeded")
    assert main(["start"]) == 0
    assert "already succeeded with the same manifest; use --again" in capsys.readouterr().out
    assert len(account.executions) == 1
    assert clients.start(again=True).case == "started"
    assert len(account.executions) == 2


def test_after_a_failure_the_same_manifest_starts_again(clients: _Clients, account: FakeExecutions) -> None:
    for _ in range(4):  # more than one page
        started = clients.start()
        assert started.case == "started"
        account.executions[started.arn].status = "Failed"
    assert len(account.executions) == 4


def test_another_manifest_is_refused_while_an_execution_runs(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = clients.start()
    assert f"got {first.arn}" in _refused(capsys, "start", "--param", "Epochs=20")
    account.executions[first.arn].status = "Stopping"
    with pytest.raises(PipelineError, match="Stopping"):
        clients.start("Epochs=20")
    account.executions[first.arn].status = "Stopped"
    assert clients.start("Epochs=20").case == "started"


def test_an_execution_that_is_stopping_is_not_returned(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    first = clients.start()
    clients.sagemaker.stop_pipeline_execution(PipelineExecutionArn=first.arn)
    for arguments in (("start",), ("start", "--again")):
        assert f"got {first.arn} (manifest-{first.manifest.sha256[:12]}-1, Stopping)" in _refused(capsys, *arguments)
    account.executions[first.arn].status = "Stopped"
    assert clients.start().case == "started"


def test_the_later_of_two_concurrent_manifests_is_stopped(account: FakeExecutions) -> None:
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
        (lambda clients: clients.put("2026/train/sea/1.jpg", b"train/sea/9.jpg"), True),
        (lambda clients: clients.put("2026/train/sea/3.jpg", b"new"), True),
        (lambda clients: clients.delete("2026/train/sea/1.jpg"), True),
        (lambda clients: clients.put("2026-other/train/sea/1.jpg", b"beside"), False),
        (lambda clients: clients.update(Epochs=9), True),
        (lambda clients: clients.update(), False),
    ],
    ids=["content", "added", "removed", "beside", "definition", "formatted differently"],
)
def test_a_manifest_changes_with_its_images_and_definition(
    change: Callable[[_Clients], None], is_another: bool, clients: _Clients
) -> None:
    before = clients.manifest()
    change(clients)
    assert (clients.manifest().sha256 != before.sha256) is is_another


def test_the_rendered_pipelines_accept_the_parameters_of_a_start(clients: _Clients) -> None:
    for name in ("pipeline", "pipeline-tuning"):
        definition = (GOLDEN / f"{name}.json").read_text()
        clients.sagemaker.update_pipeline(PipelineName="driftserve", PipelineDefinition=definition)
        parameters = clients.manifest("TrainLocation=s3://scenes/2026", "Epochs=20").parameters
        assert set(parameters) == {parameter["Name"] for parameter in json.loads(definition)["Parameters"]}
        assert parameters["Epochs"] == "20"
        assert len(parameters["SourceDigest"]) == 64


def test_the_manifest_includes_the_objects_of_every_location(clients: _Clients) -> None:
    clients.put("test/sea/1.jpg", b"test")
    clients.put("releases/1.json", b"[]")
    given = ("TestLocation=s3://scenes/test/", "AnnotationRelease=s3://scenes/releases/1.json")
    digests = [clients.manifest(*given).parameters["SourceDigest"]]
    for key in ("test/sea/1.jpg", "releases/1.json"):
        clients.put(key, b"another")
        digests.append(clients.manifest(*given).parameters["SourceDigest"])
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("Epoch=20", "the parameters are Model, Epochs, LearningRate"),
        ("Epochs", "expected NAME=VALUE"),
        ("Epochs=many", "expected a value of type Integer such as 7, got 'many'"),
        ("Epochs=1_0", "type Integer"),
        ("LearningRate=nan", "type Float"),
        ("LearningRate=1e999", "type Float"),
        ("SourceDigest=0", "the parameters are"),
        ("Model=", "type String such as mobilenetv2_100, got ''"),
        ("Model=" + "m" * 1025, "at most 1024 characters"),
        ("TrainLocation=s3://scenes/2027", "expected objects there, got none"),
        ("TrainLocation=/mnt/images", "expected s3://<bucket>/<prefix> or kaggle:"),
        ("AnnotationRelease=s3://scenes/releases/1.json", "expected objects there, got none"),
    ],
)
def test_a_wrong_parameter_is_refused(assignment: str, said: str, clients: _Clients) -> None:
    with pytest.raises(PipelineError, match=re.escape(said)):
        clients.manifest(assignment)


def test_an_empty_location_means_none(clients: _Clients) -> None:
    manifest = clients.manifest("AnnotationRelease=")
    assert manifest.parameters["AnnotationRelease"] == "none"
    assert manifest == clients.manifest()


def test_nothing_is_started_with_a_wrong_parameter(account: FakeExecutions, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the parameters are" in _refused(capsys, "start", "--param", "Epoch=20")
    assert "NoSuchBucket" in _refused(capsys, "start", "--param", "TrainLocation=s3://elsewhere/2026")
    assert account.starts == 0


def test_a_kaggle_data_set_is_identified_by_its_name(clients: _Clients) -> None:
    digests = {clients.manifest(f"TrainLocation=kaggle:o/{name}").parameters["SourceDigest"] for name in ("a", "b")}
    assert len(digests) == 2


def test_a_missing_pipeline_or_missing_credentials_is_a_one_line_error(
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
    """Change an execution: its fetch was cached, its training failed; return it."""
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


def test_status_shows_every_step(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = clients.start().arn
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


def test_status_can_show_an_older_execution(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    older = clients.start().arn
    name = _steps(account, older).request["PipelineExecutionDisplayName"]
    newer = clients.start().arn
    found = [find_execution(clients.sagemaker, "driftserve", wanted) for wanted in (older, older[-12:], name, None)]
    assert found == [older, older, older, newer]
    assert main(["status", name, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["arn"], report["status"]) == (older, "Failed")
    assert [step["cached_from"] is not None for step in report["steps"]] == [True, False, False]
    assert "expected an execution with the ID or name 7" in _refused(capsys, "status", "7")


def test_waiting_polls_until_the_execution_ends(clients: _Clients, account: FakeExecutions) -> None:
    arn = clients.start().arn
    client, said = clients.sagemaker, []
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


def test_logs_of_all_hosts_are_sorted_by_time(
    clients: _Clients, account: FakeExecutions, capsys: pytest.CaptureFixture[str]
) -> None:
    _steps(account, clients.start().arn)
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
    assert "aaaaaaaaaaaa; read the logs there" in _refused(capsys, "logs", "--step", "Fetch")
    assert "pipelines-0-preprocess in /aws/sagemaker/ProcessingJobs" in _refused(capsys, "logs", "--step", "Preprocess")


def test_a_definition_is_compared_and_deployed(
    clients: _Clients, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_PIPELINE_NAME", "scenes-pipeline")
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_TAGS", "project=driftserve,team=vision")
    file = tmp_path / "pipeline.json"
    file.write_text(DEFINITION)
    given = ("--definition", str(file))
    assert main(["diff", *given]) == 1  # there is no pipeline yet
    assert main(["upsert", *given]) == 0
    arn = capsys.readouterr().out.splitlines()[-1]
    deployed = clients.sagemaker.describe_pipeline(PipelineName="scenes-pipeline")
    assert deployed["PipelineDefinition"] == DEFINITION
    assert deployed["RoleArn"] == "arn:aws:iam::123456789012:role/driftserve-pipeline"
    assert _tags(clients, arn) == {"project": "driftserve", "team": "vision"}
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
    assert _tags(clients, arn) == {"project": "driftserve", "team": "scenes"}


def _tags(clients: _Clients, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in clients.sagemaker.list_tags(ResourceArn=arn)["Tags"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "definition is not JSON:"), ("[]", "with Steps, got other JSON"), (None, "No such file")],
)
def test_an_invalid_definition_is_not_deployed(
    text: str | None, said: str, clients: _Clients, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "pipeline.json"
    if text is not None:
        file.write_text(text)
    assert said in _refused(capsys, "upsert", "--definition", str(file))
    assert clients.sagemaker.describe_pipeline(PipelineName="driftserve")["PipelineDefinition"] == DEFINITION


def test_a_definition_rendered_with_other_settings_is_not_deployed(
    clients: _Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("upsert", "--definition", str(GOLDEN / "pipeline.json"))
    role = "arn:aws:iam::111122223333:role/driftserve-pipeline"
    said = f"expected a definition with RoleArn {role.replace('111122223333', '123456789012')}, got {role}; render"
    assert said in _refused(capsys, *given)
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_ROLE_ARN", role)
    assert main(given) == 0
    capsys.readouterr()
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_PIPELINE_NAME", "scenes")
    assert "expected a definition with ExperimentName scenes, got driftserve; render" in _refused(capsys, *given)
    assert len(clients.sagemaker.list_pipelines()["PipelineSummaries"]) == 1


def test_nothing_is_deployed_into_another_account(
    account: FakeExecutions, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    file = tmp_path / "pipeline.json"
    file.write_text(DEFINITION)
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_ACCOUNT", "111122223333")
    said = _refused(capsys, "upsert", "--definition", str(file))
    assert "expected the credentials of account 111122223333, got those of 123456789012" in said


def test_parameters_accept_only_values_of_their_type() -> None:
    declared = declared_parameters(
        json.dumps(
            {
                "Parameters": [
                    {"Name": "Spot", "Type": "Boolean", "DefaultValue": True},
                    {"Name": "Certificate", "Type": "String", "DefaultValue": "short", "EnumValues": ["short", "full"]},
                    {"Name": "Threshold", "Type": "Float"},
                ]
            }
        )
    )
    assert resolve(declared, ["Threshold=8.5e-1"]) == {"Spot": "true", "Certificate": "short", "Threshold": "8.5e-1"}
    for assignments, said in (
        ([], "expected a value for Threshold, got none"),
        (["Threshold=1", "Threshold=2"], "got it twice"),
        (["Spot=yes"], "type Boolean"),
        (["Certificate=long"], "expected one of short, full, got 'long'"),
    ):
        with pytest.raises(PipelineError, match=said):
            resolve(declared, assignments)
