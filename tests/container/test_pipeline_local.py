"""Run the whole pipeline in containers with the SageMaker SDK's local mode: a success, a refusal and failures."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from checkout import ROOT
from containers import DOCKER, docker, readable, refuse, serving, tag
from driftserve_demo.synthetic import write_dataset
from processes import wait_for
from sample_images import encode, scene

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

SETTINGS = {"ROBUSTNESS_IMAGES": "2", "EXPLAINED_IMAGES": "1", "PRETRAINED": "false"}
PARAMETERS = (
    *("Model=test_resnet", "ImageSize=48", "BatchSize=16", "AccuracyThreshold=0.2"),
    "CodeRevision=123456789012",  # a revision of digits only, which must stay a string
)


class Run:
    """The program of `make pipeline-local`, run in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
        if not python.exists():
            refuse(f"{python} is missing: run `make install-pipeline`")
        write_dataset(folder / "images", {"train": 16, "val": 10, "test": 6}, seed=5)
        self.folder = folder
        self._python = python

    def start(self, *parameters: str, images: str = "images") -> "subprocess.Popen[str]":
        settings = SETTINGS | {"TRAINING_IMAGE": tag("training"), "SERVING_IMAGE": tag("serving")}
        command = [sys.executable, "-m", "driftserve_pipeline.local.containers"]
        command += ["--pipeline-python", str(self._python), "--work", str(self.folder / "work")]
        command += ["--docker", DOCKER, "--images", str(self.folder / images)]
        for parameter in (*PARAMETERS, *parameters):
            command += ["--param", parameter]
        (self.folder / "work" / "log").unlink(missing_ok=True)
        return subprocess.Popen(
            command,
            env=os.environ | {f"DRIFTSERVE_PIPELINE_{name}": value for name, value in settings.items()},
            stdout=(self.folder / "said").open("w"),
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        """Wait for the program; return its exit status and stderr."""
        _, errors = process.communicate(timeout=600)
        return process.returncode, errors

    def containers(self) -> list[str]:
        """Return the ids of this run's containers; other runs on this machine may have containers, too."""
        shown = ("--filter", "label=driftserve.pipeline", "--format", "{{.ID}} {{.Mounts}}")
        listed = docker("ps", "--all", "--no-trunc", *shown).splitlines()
        return [line.split()[0] for line in listed if str(self.folder) in line]

    @property
    def said(self) -> str:
        """Its stdout, with a line per step."""
        return (self.folder / "said").read_text()

    @property
    def log(self) -> str:
        """The output of the run's containers so far."""
        file = self.folder / "work" / "log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("pipeline"))


def test_a_corrupt_image_is_named_as_the_reason_of_the_failure(run: Run) -> None:
    shutil.copytree(run.folder / "images", run.folder / "damaged")
    damaged = sorted((run.folder / "damaged" / "train").glob("*/*"))[0]
    damaged.write_bytes(damaged.read_bytes()[:300])
    status, errors = run.finish(run.start("Epochs=2", images="damaged"))
    assert status == 1
    assert re.search(r"^driftserve_pipeline: failed: Preprocess: .*corrupt", errors, re.MULTILINE)
    assert f"{damaged.parent.name}/{damaged.name}" in errors
    assert re.search(r"^Fetch +[0-9.]+ s$\n^Preprocess +[0-9.]+ s  failed$", run.said, re.MULTILINE)


def test_a_model_below_the_threshold_is_refused_with_only_its_reason(run: Run) -> None:
    status, errors = run.finish(run.start("Epochs=1", "AccuracyThreshold=1.01"))
    assert status == 1
    assert "Nothing was registered" in errors
    assert "1.01" in errors
    assert "corrupt" not in errors


def test_a_run_with_a_killed_training_can_be_completed_and_its_archive_serves(run: Run, tmp_path: Path) -> None:
    process = run.start("Epochs=4")
    wait_for(lambda: "epoch=1 " in run.log, 200)
    docker("kill", run.containers()[0])  # the newest, which runs the training
    status, errors = run.finish(process)
    assert status == 1
    assert "Step 'Train' failed" in errors

    status, errors = run.finish(run.start("Epochs=4"))
    assert status == 0, errors
    assert "registered arn:aws:sagemaker:eu-central-1:" in run.said
    assert not run.containers()
    assert not list((run.folder / "work" / "containers").iterdir())

    (archive,) = (run.folder / "work" / "model").glob("*.mar")
    with serving(tag("serving"), readable(tmp_path / "model", archive)) as server:
        answer = server.post(encode(scene(np.random.default_rng(1))))
        assert answer.status == 200
        assert answer.json()["model"]["name"] == "scenes"
