"""Run the function as Lambda does: the real awslambdaric in a process, with a fake of the service around it."""

import base64
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3

from driftserve.adapters import aws_lambda
from driftserve.bootstrap import build_service
from driftserve.cli import main
from driftserve.drift.report import DriftReport
from driftserve.errors import ArchiveError, DriftserveError, SettingsError
from driftserve.inference.service import Request
from driftserve.inference.verification import verify_archive
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.observation import Observation, ObservationBatch
from driftserve.settings import Settings
from fake_lambda import FakeLambda, fake_lambda
from lambda_events import EVENTS, changed
from model_servers import TEST_MARK
from processes import running, wait_for
from sample_images import encode, scene

COMMAND = ("awslambdaric", "driftserve.adapters.aws_lambda.handle")


@dataclass(frozen=True)
class Function:
    """A function with a loaded model, and its URL."""

    fake: FakeLambda
    process: "subprocess.Popen[bytes]"
    log: Path
    stdout: Path

    def post(
        self,
        body: bytes,
        content_type: str = "image/png",
        path: str = "/invocations",
        method: str = "POST",
        **more: str,
    ) -> tuple[int, Any]:
        headers = {"Content-Type": content_type} | more
        response = urllib3.request(method, self.fake.url + path, body=body, headers=headers, retries=False, timeout=60)
        return response.status, json.loads(response.data)


def _environment(fake: FakeLambda, archive: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return {
        "AWS_LAMBDA_RUNTIME_API": fake.runtime_api,
        "_HANDLER": COMMAND[1],
        "TMPDIR": str(tmp_path / "tmp"),
        "DRIFTSERVE_MODEL_DIR": str(archive),
    }


@contextmanager
def _running(archive: Path, tmp_path: Path, **settings: str) -> Iterator[Function]:
    log, stdout = tmp_path / "log", tmp_path / "stdout"
    with fake_lambda() as fake:
        environment = _environment(fake, archive, tmp_path) | settings
        with running(*COMMAND, environment=environment, log=log, stdout=stdout) as process:
            function = Function(fake, process, log, stdout)
            assert urllib3.request("GET", f"{fake.url}/ping", retries=False, timeout=60).status == 200, log.read_text()
            try:
                yield function
            finally:
                # The function waits for the next event in C code, where coverage's handler of SIGTERM cannot run.
                process.terminate()
                fake.is_closed = True


@pytest.fixture(scope="module")
def function(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with _running(archive, tmp_path_factory.mktemp("function")) as function:
        yield function


def _json(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()


def test_the_function_predicts_like_a_local_service(function: Function, archive: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(21)
    images = [encode(scene(generator, offset)) for offset in generator.normal(0, 30, 10)]
    service = build_service(verify_archive(archive, tmp_path / "model", ()).directory, Settings())
    expected = [service.predict([Request(image, "image/png", "r")])[0].body for image in images]
    alone = [function.post(image, path="/") for image in images]
    status, together = function.post(_json(*images), "application/json")
    assert {status, *(status for status, _ in alone)} == {200}
    for ours, theirs, third in zip(expected, (body for _, body in alone), together["predictions"], strict=True):
        assert theirs["label"] == ours["label"]
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)
        assert third["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"", "image/png", 400, "UndecodableImage"),
        (b"garbage", "image/png", 400, "UndecodableImage"),
        (b"<svg/>", "image/svg+xml", 400, "UndecodableImage"),
        (b"hello", "text/plain", 415, "UnsupportedMediaType"),
        (b"hello", "application/x-www-form-urlencoded", 415, "UnsupportedMediaType"),
        (b'{"a": 1}', "application/json", 400, "InvalidJson"),
        (b"\xff\xfe", "application/json", 400, "InvalidJson"),
        (_json(*[b"x"] * 65), "application/json", 413, "RequestTooLarge"),
    ],
)
def test_bad_input_gets_its_status_and_the_next_request_succeeds(
    function: Function, generator: np.random.Generator, body: bytes, content_type: str, status: int, kind: str
) -> None:
    got, answer = function.post(body, content_type)
    assert (got, answer["error"]["type"]) == (status, kind)
    assert "expected" in answer["error"]["message"]
    assert function.post(encode(scene(generator)))[0] == 200
    assert function.fake.errors == []


def test_every_kind_of_event_is_answered(function: Function, generator: np.random.Generator) -> None:
    for name, event in EVENTS.items():
        body, headers = (
            gzip.compress(encode(scene(generator))),
            {"Content-Type": "image/png", "Content-Encoding": "gzip"},
        )
        result = function.fake.invoke(changed(event, "/prod/invocations", body, headers)).result
        assert result["statusCode"] == 200, name


def test_other_paths_and_methods_are_refused(function: Function) -> None:
    assert function.post(b"", path="/models")[0] == 404
    assert function.post(b"", method="PUT")[0] == 405
    assert function.post(b"\0" * (6 << 20))[0] == 413  # Lambda's own limit


def test_concurrent_requests_are_answered_in_turn(function: Function) -> None:
    generator = np.random.default_rng(31)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(function.post, [encode(scene(generator)) for _ in range(12)]))
    assert {status for status, _ in answers} == {200}
    assert len({body["request_id"] for _, body in answers}) == 12


def test_every_invocation_writes_its_metrics_as_json_to_stdout(archive: Path, tmp_path: Path) -> None:
    left = tmp_path / "tmp" / f"driftserve-{os.getuid()}"
    left.mkdir(mode=0o700, parents=True)
    (tmp_path / "tmp").chmod(0o700)
    (left / "4194399").mkdir()  # of a killed environment; the id is above the kernel's limit
    (left / "4194399" / "model.pt").write_bytes(b"old")
    generator = np.random.default_rng(41)
    with _running(archive, tmp_path) as function:
        assert list(left.iterdir()) == []
        for number in range(1, 4):
            function.post(encode(scene(generator)))
            assert _sum(function, "Images") == number
        function.post(b"garbage")
        assert (_sum(function, "Images"), _sum(function, "Errors")) == (4, 1)
        function.post(encode(scene(generator)), **TEST_MARK)
        assert (_sum(function, "Images"), _sum(function, "ExcludedObservations")) == (4, 2)  # one failed, one test
        assert _sum(function, "Observations") == 3
        assert not any("DriftState" in event for event in _events(function))
        states = {json.loads(line).get("state") for line in function.log.read_text().splitlines()}
        assert states == {None, "INSUFFICIENT_DATA"}


def _sum(function: Function, name: str) -> float:
    """Return the sum of a metric over all EMF events so far."""
    return float(sum(event.get(name, 0) for event in _events(function)))


def _events(function: Function) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in function.stdout.read_text().splitlines()]
    for event in events:
        (directive,) = event["_aws"]["CloudWatchMetrics"]
        assert {metric["Name"] for metric in directive["Metrics"]} < set(event)
        assert event["Model"] == "tiny/7"
    return events


def test_the_logs_of_two_environments_replay_to_the_windows_of_one_monitor(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(51)
    images = [encode(scene(generator, -90 if number >= 50 else 0)) for number in range(110)]
    logs = []
    for place in (0, 1):  # each gets every second image
        directory = tmp_path / str(place)
        directory.mkdir()
        with _running(archive, directory) as function:
            for number in range(place, len(images), 2):
                assert function.post(images[number], **(TEST_MARK if number >= 104 else {}))[0] == 200
        logs.append(directory / "exported")
        (directory / "exported").write_bytes(function.log.read_bytes() + function.stdout.read_bytes())
    capsys.readouterr()
    assert _driftserve("replay", *logs, "--log", "--archive", archive) == 0
    replayed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    order = [*range(0, 104, 2), *range(1, 104, 2)]  # the environments ran one after the other
    expected = _reports(archive, tmp_path / "model", [images[number] for number in order])
    assert [(report["verdict"], report["window"], report["observations"]) for report in replayed] == [
        (report.verdict, report.window, report.observations) for report in expected
    ]
    assert len(expected) == 2
    for ours, theirs in zip(expected, replayed, strict=True):
        statistics = {test["feature"]: test["statistic"] for test in theirs["tests"]}
        assert statistics == pytest.approx({test.feature: test.statistic for test in ours.tests}, abs=1e-12)
    assert _driftserve("replay", logs[0], "--archive", archive) == 1  # without --log, the file must be a record
    assert _driftserve("rebaseline", *logs, "--log", "--archive", archive, "--new-version", "8", "--output", tmp_path)
    assert "a record of at least 250 images, as many as in a long window, got 104" in capsys.readouterr().err


def _reports(archive: Path, model_dir: Path, images: list[bytes]) -> list[DriftReport]:
    """Return the reports of one monitor for the images."""
    verified = verify_archive(archive, model_dir, ())
    monitor = Monitor({verified.digest: verified.contract}.get, "e", "v")
    reports: list[DriftReport] = []

    def observe(observations: tuple[Observation, ...]) -> None:
        reports.extend(monitor.observe(ObservationBatch(verified.digest, 1e9, observations)) or ())

    service = build_service(verified.directory, Settings(), observe)
    for image in images:
        service.predict([Request(image, "image/png", "r")])
    return reports


def _driftserve(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def test_an_environment_that_fills_a_window_reports_its_verdict_and_a_dead_one_is_a_502(
    archive: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(61)
    with _running(archive, tmp_path) as function:
        function.post(_json(*(encode(scene(generator, -90)) for _ in range(50))), "application/json")
        assert _sum(function, "DriftState") == 1
        assert '"state": "DRIFT"' in function.log.read_text()

        assert function.fake.invoke({"no": "event"}).result["statusCode"] == 400
        function.fake.timeout_seconds = 0.2
        function.process.kill()
        wait_for(lambda: function.process.poll() is not None)
        response = urllib3.request("GET", f"{function.fake.url}/ping", retries=False, timeout=60)
        assert response.status == 502


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({}, "ArchiveError", "broken.mar: "),
        ({"DRIFTSERVE_WINDOW": "5"}, "SettingsError", "DRIFTSERVE_WINDOW: no such setting"),
    ],
)
def test_an_archive_that_cannot_be_served_is_a_one_line_init_error(
    archive: Path, tmp_path: Path, settings: dict[str, str], kind: str, message: str
) -> None:
    broken = tmp_path / "broken.mar"
    broken.write_bytes(archive.read_bytes()[:-1])
    with fake_lambda() as fake:
        environment = _environment(fake, archive if settings else broken, tmp_path) | settings
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND], env=os.environ | environment, capture_output=True, text=True, timeout=200
        )
        (error,) = fake.init_errors
    assert done.returncode == 1
    assert error["errorType"] == kind
    assert message in error["errorMessage"]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("driftserve: ")]
    assert error["errorMessage"] in line
    assert not (list((tmp_path / "tmp").rglob("model.pt")))


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"DRIFTSERVE_MODEL_DIR": "/nowhere"}, ArchiveError, "/nowhere: expected a .mar file"),
        ({"DRIFTSERVE_SINKS": "cloudwatch"}, SettingsError, "DRIFTSERVE_SINKS: expected `emf`"),
        ({"DRIFTSERVE_ARCHIVE_SHA256": "0" * 64}, ArchiveError, f"expected a content digest of {'0' * 64}, got "),
    ],
)
def test_an_unservable_function_is_a_one_line_error_before_the_first_invocation(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    kind: type[DriftserveError],
    message: str,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in ({"DRIFTSERVE_MODEL_DIR": str(archive)} | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=message):
        aws_lambda.handle  # noqa: B018  awslambdaric reads it in the init phase
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("driftserve: ")]
    assert message in line
    assert not list(tmp_path.rglob("model.pt"))
