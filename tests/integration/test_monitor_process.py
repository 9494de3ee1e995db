"""The monitor as a real process, a real socket, and moto's server as CloudWatch over real HTTP."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import numpy as np
import pytest

from driftserve.channel import SOCKET_FILE, Sender
from driftserve.contract import Contract
from driftserve.metrics import DEFINITIONS, all_series
from driftserve.observation import Observation
from driftserve.runtime import read_status, write_contract
from driftserve_demo.local_aws import local_aws, read_metrics
from processes import running, wait_for

DIGEST = "a" * 64


@pytest.fixture
def runtime_dir(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    directory = tmp_path_factory.mktemp("r")
    write_contract(directory, DIGEST, contract)
    return directory


@pytest.fixture
def aws() -> Iterator[dict[str, str]]:
    with local_aws() as environment:
        yield environment


def _observations(contract: Contract, number: int) -> list[Observation]:
    columns = np.array(list(contract.reference.values()))
    return [
        Observation(200, {"decode": 1.0, "total": float(index % 7)}, "red", 0.9, tuple(columns[:, index].tolist()))
        for index in range(number)
    ]


def _send(runtime_dir: Path, observations: list[Observation]) -> None:
    sender = Sender(runtime_dir / SOCKET_FILE, DIGEST)
    for start in range(0, len(observations), 10):  # few datagrams: the kernel queues ten
        sender.send(tuple(observations[start : start + 10]))


def _status(runtime_dir: Path) -> dict[str, object]:
    return read_status(runtime_dir)["models"].get("tiny/7", {})


def test_observations_become_metrics_that_cloudwatch_gives_back(
    aws: dict[str, str], runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    environment = aws | {
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_SINKS": "cloudwatch,log",
        "DRIFTSERVE_ENDPOINT_NAME": "scenes-prod",
    }
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log") as process:
        wait_for((runtime_dir / SOCKET_FILE).exists)
        _send(runtime_dir, [*_observations(contract, 60), Observation(400, {"decode": 0.1, "total": 0.2})])
        wait_for(lambda: _status(runtime_dir).get("observations") == 60)
        process.terminate()
        assert process.wait(20) == 0  # the last period is flushed
    read = read_metrics(aws, "driftserve", all_series(contract, "scenes-prod", "AllTraffic"))
    assert set(read.metric_names) == {definition.name for definition in DEFINITIONS}
    assert _statistics(aws, "Requests")["Sum"] == 61
    assert _statistics(aws, "Errors")["Sum"] == 1
    total = _statistics(aws, "Latency", Phase="total")
    assert total["SampleCount"] == 61
    assert total["Maximum"] == 6
    assert _statistics(aws, "DriftStatistic", Feature="brightness")["SampleCount"] == 1


def test_the_status_is_there_within_a_second_of_the_last_observation(
    runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        _send(runtime_dir, _observations(contract, 50))
        sent = time.monotonic()
        wait_for(lambda: _status(runtime_dir).get("windows") == 1)
        assert time.monotonic() - sent < 1.0
        command = [sys.executable, "-m", "driftserve", "status", "--runtime-dir", str(runtime_dir)]
        shown = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
        table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    model = shown["models"]["tiny/7"]
    assert set(model) == {"state", "windows", "alarms", "observations", "dropped", "last_report"}
    assert (model["state"], model["windows"], model["dropped"]) == ("OK", 1, 0)
    assert {test["feature"] for test in model["last_report"]["tests"]} == set(contract.feature_names)
    assert table.splitlines()[1].split() == ["tiny/7", "OK", "1", "0", "50", "0"]


def test_an_aws_that_cannot_be_reached_stops_neither_start_nor_watch(
    runtime_dir: Path, contract: Contract, tmp_path: Path, port: int
) -> None:
    environment = {
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_SINKS": "cloudwatch",
        "DRIFTSERVE_METRICS_PERIOD_SECONDS": "1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",  # nobody listens there
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        for expected in (10, 20):
            _send(runtime_dir, _observations(contract, 10))
            wait_for(lambda expected=expected: _status(runtime_dir).get("observations") == expected, 5)
            wait_for(lambda: b"CloudWatchSink lost" in (tmp_path / "log").read_bytes(), 20)


def test_a_datagram_of_somebody_else_is_logged_and_passed_over(
    runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    import socket

    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\xff\x00", str(runtime_dir / SOCKET_FILE))
        _send(runtime_dir, _observations(contract, 1))
        wait_for(lambda: _status(runtime_dir).get("observations") == 1)
    assert "a datagram was not understood" in (tmp_path / "log").read_text()


def _statistics(aws: dict[str, str], name: str, **own: str) -> dict[str, float]:
    client = boto3.client(
        "cloudwatch",
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106  moto takes any
    )
    dimensions = {"EndpointName": "scenes-prod", "VariantName": "AllTraffic", "Model": "tiny/7"} | own
    now = datetime.now(timezone.utc)
    (point,) = client.get_metric_statistics(
        Namespace="driftserve",
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["Sum", "SampleCount", "Maximum"],
    )["Datapoints"]
    return point


def test_sigterm_ends_it_under_traffic_that_never_ends(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log") as process:
        wait_for((runtime_dir / SOCKET_FILE).exists)
        sender = Sender(runtime_dir / SOCKET_FILE, DIGEST)
        one = tuple(_observations(contract, 1))
        process.terminate()
        ended_by = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < ended_by:
            sender.send(one)
            time.sleep(0.01)
        assert process.poll() == 0
