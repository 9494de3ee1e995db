"""The pipeline in containers, by the SageMaker SDK's local mode: to a version that serves, and to a refusal."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from containers import docker, readable, refuse, serving, tag
from driftserve_demo.synthetic import write_dataset
from images import encode, scene
from processes import wait_for
from servers import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

SETTINGS = {"ROBUSTNESS_IMAGES": "2", "EXPLAINED_IMAGES": "1", "PRETRAINED": "false"}
PARAMETERS = ("Model=test_resnet", "ImageSize=48", "BatchSize=16", "Epochs=2", "AccuracyThreshold=0.2")


class Run:
    """`make pipeline-local`'s program, in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
        if not python.exists():
            refuse(f"{python} is missing: `make install-pipeline` makes the environment of the SageMaker SDK")
        write_dataset(folder / "images", {"train": 16, "val": 10, "test": 6}, seed=5)
        self.folder = folder
        self._python = python

    def start(self, *parameters: str) -> "subprocess.Popen[str]":
        settings = SETTINGS | {"TRAINING_IMAGE": tag("training"), "SERVING_IMAGE": tag("serving")}
        command = [sys.executable, "-m", "driftserve_pipeline.local.containers"]
        command += ["--pipeline-python", str(self._python), "--work", str(self.folder / "work")]
        command += ["--images", str(self.folder / "images")]
        for parameter in (*PARAMETERS, *parameters):
            command += ["--param", parameter]
        return subprocess.Popen(
            command,
            env=os.environ | {f"DRIFTSERVE_PIPELINE_{name}": value for name, value in settings.items()},
            stdout=(self.folder / "log").open("w"),
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        """Its exit status and what it says on stderr."""
        _, errors = process.communicate(timeout=600)
        return process.returncode, errors

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("pipeline"))


def test_a_version_is_registered_and_its_archive_serves(run: Run, tmp_path: Path) -> None:
    status, errors = run.finish(run.start())
    assert status == 0, errors
    assert "registered arn:aws:sagemaker:eu-central-1:" in run.log
    assert not docker("ps", "--all", "--quiet", "--filter", "label=driftserve.pipeline")

    (archive,) = (run.folder / "work" / "model").glob("*.mar")
    with serving(tag("serving"), readable(tmp_path / "model", archive)) as server:
        answer = server.post(encode(scene(np.random.default_rng(1))))
        assert answer.status == 200
        assert answer.json()["model"]["name"] == "scenes"


def test_what_is_not_good_enough_is_refused_with_its_reason(run: Run) -> None:
    status, errors = run.finish(run.start("AccuracyThreshold=1.01"))
    assert status == 1
    assert "Nothing was registered" in errors
    assert "1.01" in errors


def test_a_training_killed_in_mid_run_is_told_and_the_next_run_completes(run: Run) -> None:
    process = run.start("Epochs=200")

    def training() -> str:
        containers = docker("ps", "--quiet", "--filter", "label=driftserve.pipeline").split()
        return next((one for one in containers if "epoch=1 " in docker("logs", one)), "")

    docker("kill", wait_for(training, 200))
    status, errors = run.finish(process)
    assert status == 1
    assert "Step 'Train' failed" in errors

    status, errors = run.finish(run.start())
    assert status == 0, errors
