"""The monitor as a real process with a real socket, and moto as CloudWatch over HTTP."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.drift.report import report_to_json
from driftserve.errors import MonitorError, MonitorNotFound
from driftserve.host.stop import StopFlag
from driftserve.metrics.definitions import DEFINITIONS, Metric, all_series, common_dimensions
from driftserve.metrics.publisher import Publisher
from driftserve.monitoring.monitor import Monitor
from driftserve.monitoring.process import MonitorProcess, next_period
from driftserve.observations.channel import SOCKET_FILE, Receiver, Sender
from driftserve.observations.observation import Observation
from driftserve.observations.replay import replay
from driftserve.runtime.directory import forget_contract, write_contract
from driftserve.runtime.status import read_status
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


def _send(runtime_dir: Path, observations: list[Observation], key: str = DIGEST) -> None:
    sender = Sender(runtime_dir / SOCKET_FILE, key)
    for start in range(0, len(observations), 10):  # in few datagrams, because the kernel queues only ten
        sender.send(tuple(observations[start : start + 10]))


def _status(runtime_dir: Path) -> dict[str, object]:
    with contextlib.suppress(MonitorNotFound):  # it is still starting
        return read_status(runtime_dir)["models"].get(DIGEST, {})
    return {}


def test_observations_become_metrics_in_cloudwatch(
    aws: dict[str, str], runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    environment = aws | {
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_SINKS": "cloudwatch,log",
        "DRIFTSERVE_ENDPOINT_NAME": "scenes-prod",
    }
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log") as process:
        wait_for((runtime_dir / SOCKET_FILE).exists)
        Sender(runtime_dir / SOCKET_FILE, "f" * 64).send(tuple(_observations(contract, 1)))  # from an unknown model
        _send(runtime_dir, [*_observations(contract, 60), Observation(400, {"decode": 0.1, "total": 0.2})])
        wait_for(lambda: _status(runtime_dir).get("observations") == 60)
        process.terminate()
        assert process.wait(20) == 0  # the last period has been sent
    read = read_metrics(aws, "driftserve", all_series(contract, "scenes-prod", "AllTraffic"))
    assert set(read.metric_names) == {definition.name for definition in DEFINITIONS}
    assert _statistics(aws, "Images")["Sum"] == 61
    assert _statistics(aws, "Errors")["Sum"] == 1
    total = _statistics(aws, "Latency", Phase="total")
    assert total["SampleCount"] == 61
    assert total["Maximum"] == 6
    assert _statistics(aws, "DriftStatistic", Feature="brightness")["SampleCount"] == 1


def test_the_status_follows_the_observations(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        _send(runtime_dir, _observations(contract, 50))
        wait_for(lambda: _status(runtime_dir).get("windows") == 1, 10)
        command = [sys.executable, "-m", "driftserve", "status", "--runtime-dir", str(runtime_dir)]
        shown = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
        table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    model = shown["models"][DIGEST]
    assert (model["name"], model["state"], model["windows"], model["dropped"]) == ("tiny/7", "OK", 1, 0)
    assert shown["lost"] == {"unknown_model": 0, "queue_full": 0, "not_understood": 0, "not_recorded": 0}
    assert {test["feature"] for test in model["last_report"]["tests"]} == {*contract.feature_names, "predicted_class"}
    assert "tiny/7" in table


def test_an_invalid_datagram_is_logged_and_counted(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\xff\x00", str(runtime_dir / SOCKET_FILE))
        Sender(runtime_dir / SOCKET_FILE, "f" * 64).send(tuple(_observations(contract, 5)))
        _send(runtime_dir, _observations(contract, 1))
        wait_for(lambda: _status(runtime_dir).get("observations") == 1)
        lost = read_status(runtime_dir)["lost"]
    assert (lost["not_understood"], lost["unknown_model"]) == (1, 5)
    assert "dropping a datagram that is not a valid batch" in (tmp_path / "log").read_text()


def test_a_model_is_known_as_soon_as_its_contract_exists(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    def states() -> dict[str, object]:
        return {digest[0]: model["state"] for digest, model in read_status(runtime_dir)["models"].items()}

    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for(lambda: _status(runtime_dir))
        assert states() == {"a": "INSUFFICIENT_DATA"}  # its contract existed before the monitor started
        write_contract(runtime_dir, "b" * 64, contract)
        wait_for(lambda: states() == {"a": "INSUFFICIENT_DATA", "b": "INSUFFICIENT_DATA"})


def test_a_model_with_a_removed_contract_is_forgotten_after_its_last_metrics_are_sent(
    runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    log, environment = tmp_path / "log", {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=log):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        _send(runtime_dir, _observations(contract, 3))
        wait_for(lambda: _status(runtime_dir).get("observations") == 3)
        forget_contract(runtime_dir, DIGEST)
        wait_for(lambda: read_status(runtime_dir)["models"] == {})
        wait_for(lambda: '"Images": 3' in log.read_text())
        write_contract(runtime_dir, DIGEST, contract)  # the model is loaded again
        wait_for(lambda: _status(runtime_dir).get("observations") == 0)


def test_files_that_somebody_removes_end_no_window(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    log, environment = tmp_path / "log", {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}
    with running("driftserve", "monitor", environment=environment, log=log):
        wait_for(lambda: _status(runtime_dir))
        connected = Sender(runtime_dir / SOCKET_FILE, DIGEST)
        observations = _observations(contract, 9)
        connected.send(tuple(observations[:3]))
        wait_for(lambda: _status(runtime_dir).get("observations") == 3)
        shutil.rmtree(runtime_dir, ignore_errors=True)  # the monitor may write a file there meanwhile
        wait_for(lambda: (runtime_dir / SOCKET_FILE).exists() and _status(runtime_dir).get("observations") == 3)
        connected.send(tuple(observations[3:5]))
        _send(runtime_dir, observations[5:])  # a new worker
        wait_for(lambda: _status(runtime_dir).get("observations") == 9)
        assert (runtime_dir / "models" / f"{DIGEST}.json").is_file()
    assert "Traceback" not in log.read_text()


def test_an_unreadable_contract_is_read_again_later(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
    late = "b" * 64
    (runtime_dir / "models" / f"{late}.json").write_text("{")
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_METRICS_PERIOD_SECONDS": "1"}
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        wait_for(lambda: _status(runtime_dir))
        started = time.monotonic()
        time.sleep(2.0)
        tries = (tmp_path / "log").read_text().count(f"{late}.json cannot be read")
        assert 1 <= tries <= time.monotonic() - started + 2  # not in every loop
        assert set(read_status(runtime_dir)["models"]) == {DIGEST}
        write_contract(runtime_dir, late, contract)
        wait_for(lambda: set(read_status(runtime_dir)["models"]) == {DIGEST, late}, 20)


def test_the_status_is_refreshed_without_traffic(runtime_dir: Path, tmp_path: Path) -> None:
    with running("driftserve", "monitor", environment={"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir)}, log=tmp_path / "l"):
        wait_for(lambda: _status(runtime_dir))
        before = (runtime_dir / "status.json").stat().st_mtime_ns
        wait_for(lambda: (runtime_dir / "status.json").stat().st_mtime_ns > before, 10)


class _Kept:
    """A sink that keeps the metrics that it gets."""

    name = "kept"

    def __init__(self) -> None:
        self.metrics: list[Metric] = []

    def emit(self, metrics: Sequence[Metric]) -> None:
        self.metrics += metrics


def test_losses_are_reported_once_by_cause(runtime_dir: Path, contract: Contract) -> None:
    def reported() -> Counter[str]:
        losses = [metric for metric in sink.metrics if metric.name == "LostObservations"]
        assert all(metric.values[0] > 0 and metric.dimensions[:-1] == dimensions for metric in losses)
        totals: Counter[str] = Counter()
        for metric in losses:
            totals[metric.dimensions[-1][1]] += int(metric.values[0])
        return totals

    dimensions = common_dimensions("e", "v")
    sink, stop = _Kept(), StopFlag()
    monitor = Monitor({DIGEST: contract}.get, "e", "v")
    process = MonitorProcess(monitor, Publisher([sink], dimensions), runtime_dir, 0.3, dimensions)
    thread = threading.Thread(target=process.run, args=(stop,), daemon=True)
    thread.start()
    wait_for((runtime_dir / "status.json").exists)
    stranger = Sender(runtime_dir / SOCKET_FILE, "f" * 64)
    for total in (5, 10):
        stranger.send(tuple(_observations(contract, 5)))
        wait_for(lambda total=total: reported() == {"unknown_model": total}, 20)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as somebody:
        somebody.sendto(b"\xff\x00", str(runtime_dir / SOCKET_FILE))
    stop.set()
    thread.join()
    assert reported() == {"unknown_model": 10, "not_understood": 1}


def test_periods_stay_on_schedule_and_missed_ones_are_skipped() -> None:
    ends, due = [], 60.0
    for now in np.arange(0.0, 3601.0, 0.23):
        if now >= due:
            ends.append(now)
            due = next_period(due, now, 60.0)
    assert len(ends) == 60
    assert max(abs(end - 60 * number) for number, end in enumerate(ends, start=1)) < 0.24
    assert next_period(60.0, 400.0, 60.0) == 460.0


def test_the_record_replays_to_the_reports_of_all_its_monitors(
    runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    environment = {
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_RECORD_DIR": str(tmp_path / "record"),
        "DRIFTSERVE_WINDOW_SIZE": "30",
        "DRIFTSERVE_WINDOWS_BETWEEN_FALSE_ALARMS": "50",
    }
    for start in (0, 100):
        with running("driftserve", "monitor", environment=environment, log=tmp_path / "log") as process:
            wait_for(lambda: _status(runtime_dir).get("observations") == 0)
            _send(runtime_dir, _observations(contract, 200)[start : start + 100])
            wait_for(lambda: _status(runtime_dir).get("observations") == 100)
            assert _status(runtime_dir)["overrides"] == [
                "window_size 30 instead of 50, which the archive's certificate does not cover",
                "windows_between_false_alarms 50 instead of 1000, which the archive's certificate does not cover",
            ]
            process.kill()  # it must not need a clean exit
            process.wait()
    lines = (tmp_path / "record" / "observations.jsonl").read_bytes().splitlines()
    reports = [report_to_json(report) for report in replay(lines, contract, DIGEST)]
    assert len(reports) == 6
    assert reports == (tmp_path / "record" / "reports.jsonl").read_text().splitlines()


def test_a_replay_repeats_a_model_that_is_loaded_again_after_traffic_of_another(
    runtime_dir: Path, contract: Contract, tmp_path: Path
) -> None:
    def seen() -> dict[str, object]:
        return {model["name"]: model["observations"] for model in read_status(runtime_dir)["models"].values()}

    day, night = f"{DIGEST}@day", f"{DIGEST}@night"
    forget_contract(runtime_dir, DIGEST)
    environment = {
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_RECORD_DIR": str(tmp_path / "record"),
        "DRIFTSERVE_WINDOW_SIZE": "20",
    }
    with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
        for key in (day, night):
            write_contract(runtime_dir, key, contract)
        wait_for(lambda: (runtime_dir / "status.json").exists() and len(seen()) == 2)
        _send(runtime_dir, _observations(contract, 40), night)
        wait_for(lambda: seen() == {"tiny/7 as day": 0, "tiny/7 as night": 40})
        forget_contract(runtime_dir, night)
        wait_for(lambda: seen() == {"tiny/7 as day": 0})
        _send(runtime_dir, _observations(contract, 1), day)  # begins a part of the record, without the other model
        wait_for(lambda: seen() == {"tiny/7 as day": 1})
        write_contract(runtime_dir, night, contract)
        wait_for(lambda: len(seen()) == 2)
        _send(runtime_dir, _observations(contract, 40), night)
        wait_for(lambda: seen() == {"tiny/7 as day": 1, "tiny/7 as night": 40})
    lines = (tmp_path / "record" / "observations.jsonl").read_bytes().splitlines()
    reports = [report_to_json(report) for report in replay(lines, contract, DIGEST)]
    progress = [json.loads(report)["calibration"]["progress"] for report in reports]
    assert progress == pytest.approx([0.0, 0.002, 0.004, 0.006])  # it goes on; 500 windows calibrate the watch
    assert [json.loads(report)["window"] for report in reports] == [1, 2, 1, 2]
    assert reports == (tmp_path / "record" / "reports.jsonl").read_text().splitlines()


class _ProcessWithClosedReceiver(MonitorProcess):
    def _drain(self, receiver: Receiver, stop: StopFlag) -> None:
        receiver.close()
        super()._drain(receiver, stop)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_process_ends_if_its_receiving_thread_dies(runtime_dir: Path, contract: Contract) -> None:
    process = _ProcessWithClosedReceiver(Monitor({DIGEST: contract}.get, "e", "v"), Publisher([]), runtime_dir, 60.0)
    with pytest.raises(MonitorError, match="the receiving thread ended"):
        process.run(StopFlag())


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


def test_sigterm_ends_it_under_continuous_traffic(runtime_dir: Path, contract: Contract, tmp_path: Path) -> None:
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
