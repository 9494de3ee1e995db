"""Test that the demo stops its processes when it is terminated, and reports unusable arguments."""

import fcntl
import itertools
import os
import re
import select
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from driftserve.archive.contract import DriftPolicy
from processes import wait_for
from sample_images import encode, scene_pixels

# Only the serving stage of the demo, with the demo's SIGTERM handler.
SERVING_STAGE = """
import os, signal, sys, time
from pathlib import Path
from driftserve_demo.client import Picture
from driftserve_demo.server import running_server
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
archive, port, image, log = sys.argv[1:]
probe = Picture(Path(image).read_bytes(), "image/png", None)
with running_server(Path(archive), int(port), dict(os.environ), probe, Path(log)):
    print("serving", flush=True)
    time.sleep(100)
"""


def _demo(output: Path, port: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "driftserve_demo", "--output", str(output), "--port", port, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


class Terminal:
    """A terminal of 100 columns and 30 lines with a program in its foreground, and all that the program printed."""

    def __init__(self, program: "subprocess.Popen[bytes]", keyboard: int) -> None:
        self.program = program
        self._keyboard = keyboard
        self._printed = b""

    def press_ctrl_c(self) -> None:
        os.write(self._keyboard, b"\x03")

    def printed(self) -> str:
        while select.select([self._keyboard], [], [], 0)[0]:
            try:
                self._printed += os.read(self._keyboard, 65536)
            except OSError:  # the program has ended
                break
        return self._printed.decode()

    def has_ended(self) -> bool:
        self.printed()  # a full buffer would stop the program
        return self.program.poll() is not None


@contextmanager
def _terminal(*command: str) -> Iterator[Terminal]:
    keyboard, screen = os.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    program = subprocess.Popen(
        command,
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(screen)
    try:
        yield Terminal(program, keyboard)
    finally:
        program.kill()
        program.wait()
        os.close(keyboard)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(r"data.* [1-9]\d*/", id="drawing"),
        # These take a training or a whole small demo, so they run with the whole one, in `make acceptance`.
        pytest.param(r"train", id="training", marks=pytest.mark.acceptance),
        pytest.param(r"calm traffic.* [1-9]\d*/", id="traffic", marks=pytest.mark.acceptance),
    ],
)
def test_ctrl_c_is_one_line_and_leaves_no_process(tmp_path: Path, port: int, moment: str) -> None:
    command = [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", str(port)]
    with _terminal(*command, "--quick", "--epochs", "1") as terminal:
        wait_for(lambda: re.search(moment, terminal.printed()) or terminal.has_ended(), 300)
        assert terminal.program.poll() is None, terminal.printed()
        if moment == "train":
            wait_for(lambda: "driftserve_training" in str(_commands(terminal.program.pid)), 20)
        children = psutil.Process(terminal.program.pid).children(recursive=True)
        before = len(terminal.printed())
        terminal.press_ctrl_c()
        wait_for(terminal.has_ended, 60)
        assert terminal.program.returncode == 130
        after = terminal.printed()[before:]
        assert after.endswith("demo: interrupted\r\n")
        assert after.count("interrupted") == 1
        assert "Traceback" not in after
        assert "\x1b[?25h" in after  # the cursor is visible again
        assert children or "data" in moment
        _, alive = psutil.wait_procs(children, 30)
        assert alive == []


def _commands(process_id: int) -> list[list[str]]:
    return [child.cmdline() for child in psutil.Process(process_id).children(recursive=True)]


def test_sigterm_while_training_leaves_no_process(tmp_path: Path, port: int) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "driftserve_demo", "--output", str(tmp_path), "--port", str(port), "--quick"],
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
        [sys.executable, "-c", SERVING_STAGE, str(archive), str(port), str(image), str(tmp_path / "log")],
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


def test_a_training_that_fails_is_one_line_with_its_last_line_and_its_log(tmp_path: Path, port: int) -> None:
    data = tmp_path / "data"
    number_of = {"train": 1, "val": 1, "test": 1, "stream": DriftPolicy().window_size}
    for shade, (split, label) in enumerate(itertools.product(number_of, ("sea", "street"))):
        (data / split / label).mkdir(parents=True)
        for number in range(number_of[split]):
            (data / split / label / f"{number}.png").write_bytes(encode(np.full((8, 8, 3), shade, np.uint8)))
    done = _demo(tmp_path / "demo", str(port), "--data", str(data), "--model", "no_such_model")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    log = tmp_path / "demo" / "train.log"
    assert line.startswith(f"demo: train failed: exit status 2; {log} ends with: driftserve_training: ")
    assert "no_such_model" in line
    assert done.stdout.splitlines()[-1] == "train: started"


def test_a_taken_port_is_an_error_before_any_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = str(bound.getsockname()[1])
        done = _demo(tmp_path, port)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
