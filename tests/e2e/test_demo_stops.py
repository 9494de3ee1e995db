"""Test that the demo stops its processes when it is terminated, and reports unusable arguments."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from processes import wait_for
from sample_images import encode, scene_pixels

# Only the serving stage of the demo, with the demo's SIGTERM handler.
SERVING_STAGE = """
import os, signal, sys, time
from pathlib import Path
from driftserve_demo.client import Picture
from driftserve_demo.server import running_server
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
archive, port, image = sys.argv[1:]
probe = Picture(Path(image).read_bytes(), "image/png", None)
with running_server(Path(archive), int(port), dict(os.environ), probe):
    print("serving", flush=True)
    time.sleep(100)
"""


def _demo(output: Path, port: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "driftserve_demo", "--output", str(output), "--port", port, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_sigterm_while_training_leaves_no_process(tmp_path: Path, port: int) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children = wait_for(lambda: psutil.Process(demo.pid).children(recursive=True), 60)
        demo.terminate()
        assert demo.wait(60) == 143
        _, alive = psutil.wait_procs(children, 60)
        assert alive == []
    finally:
        demo.kill()


def test_sigterm_while_serving_leaves_no_process(archive: Path, spec: object, tmp_path: Path, port: int) -> None:
    image = tmp_path / "probe.png"
    image.write_bytes(encode(scene_pixels(1, spec, seed=0)[0].transpose(1, 2, 0)))
    stage = subprocess.Popen(
        [sys.executable, "-c", SERVING_STAGE, str(archive), str(port), str(image)],
        env=os.environ | {"DRIFTSERVE_WORKERS": "1"},
        stdout=subprocess.PIPE,
    )
    try:
        assert stage.stdout is not None
        wait_for(lambda: b"serving" in (stage.stdout.readline() if stage.stdout else b""), 60)
        children = psutil.Process(stage.pid).children(recursive=True)
        assert any("ModelServer" in str(child.cmdline()) for child in children)
        assert len(children) >= 4  # the supervisor, the monitor, the JVM, a worker
        stage.terminate()
        assert stage.wait(90) == 143
        _, alive = psutil.wait_procs(children, 60)
        assert alive == []
    finally:
        stage.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: expected the folders train, val, test, stream"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors: expected a weights file, got none; correct the"),
    ],
)
def test_an_unusable_argument_is_an_error_with_exit_status_1(
    tmp_path: Path, port: int, arguments: list[str], message: str
) -> None:
    done = _demo(tmp_path, str(port), *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_a_taken_port_is_an_error_before_any_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = str(bound.getsockname()[1])
        done = _demo(tmp_path, port)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
