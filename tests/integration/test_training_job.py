"""Run whole training jobs as SageMaker starts them, in folders in place of /opt/ml."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import torch

from checkout import ROOT
from driftserve.archive.reading import read_contract
from driftserve.cli import main as inspect
from driftserve.host.ports import free_ports
from driftserve_demo.synthetic import write_dataset
from driftserve_training.job.hyperparameters import NAMES
from processes import is_alive, running, wait_for
from warm_interpreter import WarmInterpreter

pytestmark = pytest.mark.timeout(900)  # a slow machine must not fail the tests

TRAIN = ROOT / "container" / "train.py"
PATIENCE_SECONDS = 300
SMALL = {"image-size": "48", "epochs": "2", "batch-size": "16", "sagemaker_program": '"train.py"'}
SMALL |= {"robustness-images": "0", "explained-images": "0"}
FROM_SCRATCH = SMALL | {"model": '"test_resnet"', "pretrained": "false"}
MakeJob = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 16, "val": 10, "test": 6}, seed=5)
    return folder


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """A function that creates /opt/ml for a job."""

    def make_job(hyperparameters: dict[str, str], name: str = "ml", **channels: Path) -> Path:
        base = tmp_path / name
        for folder in ("input/config", "input/data", "model", "output"):
            (base / folder).mkdir(parents=True)
        (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
        for channel, folder in channels.items():
            (base / "input/data" / channel).symlink_to(folder)
        return base

    return make_job


def _train(warm: WarmInterpreter, base: Path) -> subprocess.CompletedProcess[str]:
    environment = {"SAGEMAKER_BASE_DIR": str(base)}
    return warm.run("driftserve_training.job", environment=environment, timeout_seconds=PATIENCE_SECONDS)


def _train_as_the_container(base: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TRAIN],
        capture_output=True,
        text=True,
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)} | environment,
        timeout=PATIENCE_SECONDS,
    )


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_job_writes_one_valid_archive_and_its_scores(make_job: MakeJob, data: Path, warm: WarmInterpreter) -> None:
    splits = {"train": data / "train", "validation": data / "val", "test": data / "test"}
    base = make_job(
        FROM_SCRATCH | {"name": "coast", "version": "7", "revision": "0c1c9ba", "loader-workers": "1"}, **splits
    )
    for leftover in ("model/older.mar", "output/failure"):
        (base / leftover).touch()
    done = _train(warm, base)
    assert done.returncode == 0, done.stderr
    assert _names(base / "model") == ["coast.mar"]
    assert inspect(["verify", str(base / "model")]) == 0
    contract = read_contract(base / "model" / "coast.mar")
    assert (contract.name, contract.version, contract.image_spec.height) == ("coast", "7", 48)
    assert contract.provenance["revision"] == "0c1c9ba"
    said = json.loads(done.stdout.splitlines()[-1])
    trained = json.loads((base / "output/data/trained.json").read_text())
    assert said["archive"] == str(base / "model" / "coast.mar")
    evaluation = json.loads((base / "output/data/evaluation.json").read_text())
    assert said["test_accuracy"] == evaluation["driftserve"]["accuracy"]["value"]
    assert said["test_accuracy"] == contract.evaluation["test_accuracy"]
    assert re.findall(r"^epoch=(\d) val_accuracy=0\.\d{4}$", done.stdout, re.MULTILINE) == ["1", "2"]
    assert (trained["epochs"], trained["manifest_sha256"]) == (2, contract.provenance["manifest_sha256"])
    left = {path.name for path in (base / "output/data").iterdir()}
    assert left >= {"network.pt", "manifest.csv", "predictions-test.csv", "tensorboard", "card.html", "card.json"}
    assert not (base / "output/failure").exists()


def _assert_one_line_failure(base: Path, done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 1
    (line,) = (base / "output" / "failure").read_text().splitlines()
    assert reason in line
    assert done.stderr.splitlines()[-1] == f"driftserve_training: {line}"
    assert _names(base / "model") == []


def test_an_input_error_is_one_line_in_the_failure_file(
    make_job: MakeJob, tmp_path: Path, warm: WarmInterpreter
) -> None:
    (tmp_path / "empty").mkdir()
    base = make_job(FROM_SCRATCH, training=tmp_path / "empty")
    (base / "model" / "older.mar").touch()
    _assert_one_line_failure(base, _train(warm, base), "expected images as train/<class>/<image>.jpg, got none")


def test_the_containers_program_writes_the_failure_file_too(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    base = make_job(FROM_SCRATCH | {"epoch": "2"}, training=tmp_path / "empty")
    (base / "model" / "older.mar").touch()
    reason = f"unknown hyperparameter 'epoch', expected one of {', '.join(NAMES)}; remove it"
    _assert_one_line_failure(base, _train_as_the_container(base), reason)


def test_an_unexpected_error_writes_a_reason_and_its_traceback(
    make_job: MakeJob, data: Path, warm: WarmInterpreter
) -> None:
    base = make_job(FROM_SCRATCH, training=data)
    (base / "output" / "data").touch()  # a file where a folder is needed
    assert _train(warm, base).returncode == 1
    reason, *rest = (base / "output" / "failure").read_text().splitlines()
    assert reason.startswith("FileExistsError: ")
    assert rest[1] == "Traceback (most recent call last):"


def test_a_stopped_job_ends_at_once_and_reports_it(
    make_job: MakeJob, data: Path, tmp_path: Path, warm: WarmInterpreter
) -> None:
    base = make_job(FROM_SCRATCH | {"epochs": "1000"}, training=data)
    environment = {"SAGEMAKER_BASE_DIR": str(base)}
    with warm.running("driftserve_training.job", environment=environment, log=tmp_path / "log") as job:
        wait_for(lambda: list((base / "output/data").glob("checkpoints/*.ckpt")), PATIENCE_SECONDS)  # it trains now
        job.send_signal(signal.SIGTERM)
        assert job.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    reason = "ended by SIGTERM before the model was written: the job was stopped"
    assert (base / "output" / "failure").read_text() == f"{reason}\n"
    assert f"driftserve_training: {reason}" in (tmp_path / "log").read_text()
    assert _names(base / "model") == []


def test_an_interrupted_job_resumes_from_its_checkpoints_on_another_machine(
    make_job: MakeJob, data: Path, tmp_path: Path, warm: WarmInterpreter
) -> None:
    first = make_job(FROM_SCRATCH | {"epochs": "8"}, "first", training=data)
    (first / "checkpoints").mkdir()
    with warm.running(
        "driftserve_training.job", environment={"SAGEMAKER_BASE_DIR": str(first)}, log=tmp_path / "log"
    ) as job:
        wait_for(lambda: b"epoch=3 " in (tmp_path / "log").read_bytes(), PATIENCE_SECONDS)  # epoch 2 is saved
        job.kill()
        job.wait(PATIENCE_SECONDS)
    second = make_job(FROM_SCRATCH | {"epochs": "8"}, "second", training=data)
    (first / "checkpoints").rename(second / "checkpoints")  # SageMaker restores them
    done = _train(warm, second)
    assert done.returncode == 0, done.stderr
    epochs = [int(epoch) for epoch in re.findall(r"^epoch=(\d)", done.stdout, re.MULTILINE)]
    assert epochs == list(range(epochs[0], 9))
    assert epochs[0] > 2
    assert len((second / "output/data/history.csv").read_text().splitlines()) == 9
    assert _names(second / "model") == ["scenes.mar"]
    accuracies = re.findall(r"val_accuracy=(0\.\d{4})$", (tmp_path / "log").read_text() + done.stdout, re.MULTILINE)
    best = json.loads((second / "output/data/trained.json").read_text())["val_accuracy"]
    assert max(map(float, accuracies)) == pytest.approx(best, abs=1e-4)


def _weights(folder: Path) -> Path:
    """Write a weights channel; with weights, only the head is trained at first."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    folder.mkdir()
    save_file(timm.create_model("test_resnet").state_dict(), folder / "w.safetensors")
    record = {"model": "test_resnet", "mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 96, 96]}
    (folder / "w.safetensors.json").write_text(json.dumps(record))
    return folder


def test_two_hosts_train_together_and_only_the_first_writes(
    make_job: MakeJob, data: Path, tmp_path: Path, warm: WarmInterpreter
) -> None:
    weights = _weights(tmp_path / "weights")
    hosts = ["localhost", "127.0.0.1"]  # names that resolve; sorted, the second comes first
    port = str(free_ports(1)[0])
    with ExitStack() as stack:
        jobs, bases = [], []
        for host in hosts:
            base = make_job(SMALL | {"learning_rate": "0.01"}, name=host, training=data, weights=weights)
            config = {"hosts": hosts, "current_host": host, "network_interface_name": "lo"}
            (base / "input/config/resourceconfig.json").write_text(json.dumps(config))
            environment = {"SAGEMAKER_BASE_DIR": str(base), "MASTER_PORT": port}
            log = tmp_path / f"{host}.log"
            jobs.append(stack.enter_context(warm.running("driftserve_training.job", environment=environment, log=log)))
            bases.append(base)
        assert [job.wait(PATIENCE_SECONDS) for job in jobs] == [0, 0], (tmp_path / "127.0.0.1.log").read_text()
    other, first = bases
    assert _names(first / "model") == ["scenes.mar"]
    assert _names(other / "model") == []
    assert not list((other / "output").rglob("*"))
    assert read_contract(first / "model" / "scenes.mar").provenance["network"] == "test_resnet"
    log_text = (tmp_path / "127.0.0.1.log").read_text()
    assert "All distributed processes registered. Starting with 2 processes" in log_text
    assert log_text.count('{"archive": ') == 1
    assert '{"archive": ' not in (tmp_path / "localhost.log").read_text()
    (kept,) = (first / "output/data/checkpoints").glob("epoch=*.ckpt")
    state = torch.load(kept, map_location="cpu", weights_only=True)
    # 96 images in shares of 48 give 3 batches of 16 per epoch; one process would have 6.
    assert state["global_step"] == 3 * (state["epoch"] + 1)


@pytest.mark.faults
def test_if_one_process_of_a_host_fails_the_job_fails_once(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    base = make_job(FROM_SCRATCH | {"processes_per_host": "2"}, training=tmp_path / "empty")
    assert _train_as_the_container(base, MASTER_PORT=str(free_ports(1)[0])).returncode == 1
    (line,) = (base / "output" / "failure").read_text().splitlines()
    assert "expected images as train/<class>/<image>.jpg, got none" in line


@pytest.mark.faults
def test_stopping_a_job_stops_all_processes_of_the_host(make_job: MakeJob, data: Path, tmp_path: Path) -> None:
    base = make_job(FROM_SCRATCH | {"processes_per_host": "2", "epochs": "1000"}, training=data)
    environment = {"SAGEMAKER_BASE_DIR": str(base), "MASTER_PORT": str(free_ports(1)[0])}
    with running("driftserve_training.job", environment=environment, log=tmp_path / "log") as job:
        wait_for(lambda: list((base / "output/data").glob("checkpoints/*.ckpt")), PATIENCE_SECONDS)
        ranks = psutil.Process(job.pid).children()
        assert len(ranks) == 2
        job.send_signal(signal.SIGTERM)
        assert job.wait(PATIENCE_SECONDS) != 0
        wait_for(lambda: not any(is_alive(rank) for rank in ranks), PATIENCE_SECONDS)
    assert (base / "output" / "failure").read_text().startswith("ended by SIGTERM before the model was written: ")
    assert _names(base / "model") == []
