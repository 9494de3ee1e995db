"""Ctrl-C in long commands: exit status 130, one line at the end, and no half-written result."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from driftserve_demo.synthetic import write_dataset
from processes import wait_for
from warm_interpreter import WarmInterpreter

SMALL = ("--no-pretrained", "--model", "test_resnet", "--image-size", "32", "--batch-size", "16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 20, "val": 5, "test": 5}, seed=5)
    return folder


def _stop(
    warm: WarmInterpreter, number: signal.Signals, log: Path, began: Callable[[], bool], *arguments: str
) -> tuple[int, list[str]]:
    """Send a signal to a command once it has begun; return its exit status and the lines of its output."""
    with warm.running("driftserve_training", *arguments, environment={"OMP_NUM_THREADS": "1"}, log=log) as command:
        wait_for(began, 120)
        command.send_signal(number)
        status = command.wait(60)
    return status, log.read_text().replace("\r", "\n").splitlines()


@pytest.mark.parametrize(
    ("command", "flags", "made"),
    [
        ("train", SMALL, "history.csv"),
        ("tune", (*SMALL[:1], *SMALL[3:], "--models", "test_resnet", "--optimizers", "sgd"), "trials/0000/history.csv"),
    ],
)
def test_ctrl_c_is_one_line_and_status_130(
    warm: WarmInterpreter, data: Path, tmp_path: Path, command: str, flags: tuple[str, ...], made: str
) -> None:
    output = tmp_path / "output"
    status, lines = _stop(
        warm,
        signal.SIGINT,
        tmp_path / "log",
        (output / made).exists,
        *(command, "--data", str(data), "--output", str(output), *flags, "--epochs", "1000"),
    )
    assert status == 130, lines
    assert lines[-1] == "driftserve_training: interrupted"
    assert not any(line.startswith("Traceback") for line in lines)
    assert not (output / "trained.json").exists()


def test_sigterm_during_a_training_is_not_taken_for_ctrl_c_or_success(
    warm: WarmInterpreter, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    status, lines = _stop(
        warm,
        signal.SIGTERM,
        tmp_path / "log",
        (output / "history.csv").exists,
        *("train", "--data", str(data), "--output", str(output), *SMALL, "--epochs", "1000"),
    )
    assert status == 128 + signal.SIGTERM, lines
    assert lines[-1] == "driftserve_training: ended by SIGTERM"
    assert not (output / "trained.json").exists()
