"""The demo stops what it started, also when it is stopped itself."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from processes import wait_for


def test_a_terminated_demo_leaves_no_process(tmp_path: Path, port: int) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children = wait_for(lambda: psutil.Process(demo.pid).children(recursive=True), 60)
        demo.terminate()
        assert demo.wait(30) == 143
        _, alive = psutil.wait_procs(children, 10)
        assert alive == []
    finally:
        demo.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: expected the folders train, val, test, stream"),
        (["--model", "resnet_1999"], "expected a timm model, got 'resnet_1999'"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors: expected a weights file, got nothing there"),
    ],
)
def test_what_it_cannot_use_is_said_and_exits_with_1(
    tmp_path: Path, port: int, arguments: list[str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", str(port), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_a_taken_port_is_said_before_any_work(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = str(bound.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", port],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
