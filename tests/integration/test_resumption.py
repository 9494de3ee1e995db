"""Training runs that are killed and resumed give the same result as uninterrupted ones."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from driftserve_demo.synthetic import write_dataset
from driftserve_training.network.trained import load_trained
from processes import wait_for
from warm_interpreter import WarmInterpreter

pytestmark = pytest.mark.timeout(900)  # a slow machine must not fail the test

PATIENCE_SECONDS = 300
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# With dropout, so that the random state must be restored, too, not only the order of images.
RECORD = (
    '{"model": "test_resnet", "model_kwargs": {"drop_rate": 0.2}, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], '
)
RECORD += '"input_size": [3, 32, 32]}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 32, "val": 10, "test": 2}, seed=5)
    return folder


@pytest.fixture(scope="module")
def arguments(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    weights = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    weights.with_name("w.safetensors.json").write_text(RECORD)
    chosen = {"data": data, "weights": weights, "image-size": 32, "epochs": 3, "batch-size": 2}
    chosen |= {"augmentation": "realistic", "optimizer": "sgd", "learning-rate": 0.02}
    return [text for name, value in chosen.items() for text in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def uninterrupted(warm: WarmInterpreter, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    assert _train(warm, arguments, output).returncode == 0
    return output


def _train(warm: WarmInterpreter, arguments: list[str], output: Path) -> subprocess.CompletedProcess[str]:
    command = ["driftserve_training", "train", *arguments, "--output", str(output)]
    return warm.run(*command, environment=ONE_THREAD, timeout_seconds=PATIENCE_SECONDS)


def _kill_in_second_epoch(warm: WarmInterpreter, arguments: list[str], output: Path, log: Path) -> None:
    command = ["driftserve_training", "train", *arguments, "--output", str(output)]
    with warm.running(*command, environment=ONE_THREAD, log=log) as run:
        wait_for(lambda: re.search(rb"Epoch 1: .* [1-8]\d/96", log.read_bytes()), PATIENCE_SECONDS)
        run.send_signal(signal.SIGKILL)
        run.wait(PATIENCE_SECONDS)
    assert len((output / "history.csv").read_text().splitlines()) == 2, "killed too late: the second epoch was over"


def test_a_run_killed_during_an_epoch_ends_like_an_uninterrupted_one(
    arguments: list[str], uninterrupted: Path, tmp_path: Path, warm: WarmInterpreter
) -> None:
    output = tmp_path / "run"
    _kill_in_second_epoch(warm, arguments, output, tmp_path / "log")
    resumed = _train(warm, arguments, output)
    assert resumed.returncode == 0, resumed.stderr
    assert "Epoch 0:" not in resumed.stdout + resumed.stderr
    assert (output / "history.csv").read_text() == (uninterrupted / "history.csv").read_text()
    (theirs, weights), (ours, resumed_weights) = load_trained(uninterrupted), load_trained(output)
    assert (ours.temperature, ours.val_accuracy) == (theirs.temperature, theirs.val_accuracy)
    expected = weights.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed_weights.state_dict().items())
