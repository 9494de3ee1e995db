"""Pipelines run as processes of this machine: what SageMaker would do with a definition, without it."""

import json
import os
import re
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from definitions import (
    below_run,
    condition,
    definition,
    fail,
    get,
    json_get,
    output_of,
    processing,
    registration,
    training,
)
from driftserve_pipeline.local.__main__ import main
from processes import is_alive, running, wait_for

# What every program here starts with: its folders, and a line in a file outside of the run for each time it is run.
PREAMBLE = """
import json, os, pathlib, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
out = base / "processing/output/out"
diary = pathlib.Path(__file__).with_suffix(".diary")
def say(text):
    with diary.open("a") as file:
        file.write(f"{text}\\n")
def fail(reason):
    (base / "output/message").write_text(reason)
    sys.exit(reason)
say(f"began {os.getpid()}")
"""


class Scenario:
    """A folder with programs, a definition and a work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"

    def program(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(PREAMBLE + text)
        return path

    def diary(self, name: str) -> list[str]:
        path = self.folder / f"{name}.diary"
        return path.read_text().splitlines() if path.exists() else []

    def began(self, name: str) -> int:
        return sum(line.startswith("began") for line in self.diary(name))

    def arguments(self, defined: bytes, *parameters: str) -> list[str]:
        path = self.folder / "pipeline.json"
        path.write_bytes(defined)
        given = [part for parameter in parameters for part in ("--param", parameter)]
        return ["--definition", str(path), "--work", str(self.work), "--training-python", sys.executable, *given]

    def run(self, defined: bytes, *parameters: str) -> int:
        return main(self.arguments(defined, *parameters))


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path)


def _decided(scenario: Scenario) -> bytes:
    """Make -> Train -> Judge -> Decide -> Register or Refuse, with programs that take no time."""
    make = scenario.program(
        "make", "(out / 'images').mkdir(); (out / 'images/a.txt').write_text(' '.join(sys.argv[1:]))"
    )
    train = scenario.program(
        "train",
        "told = json.loads((base / 'input/config/hyperparameters.json').read_text())\n"
        "assert (base / 'input/data/data/images/a.txt').read_text() == '--epochs 3 --rate 0.003', told\n"
        "print('epoch=1 val_accuracy=0.5'); print('epoch=2 val_accuracy=0.75')\n"
        "(base / 'model/network.txt').write_text(json.dumps(told))",
    )
    judge = scenario.program(
        "judge",
        "import tarfile\n"
        "assert [path.name for path in (base / 'processing/input/run').iterdir()] == ['model.tar.gz']\n"
        "(out / 'verdict.json').write_text(json.dumps({'accuracy': float(sys.argv[1]), 'reason': 'too bad', 'n': {'is': [7]}}))\n"
        "(out / 'm.mar').write_text('archive')\n"
        "tarfile.open(out / 'model.tar.gz', 'w:gz').add(out / 'm.mar', 'm.mar')",
    )
    rate = {"Std:Join": {"On": "", "Values": [get("Parameters.Rate")]}}
    epochs = {"Std:Join": {"On": "", "Values": [get("Parameters.Epochs")]}}
    accuracy = json_get("Judge", "Verdict", "accuracy")
    return definition(
        # not in the order in which they can run
        condition(
            "Decide",
            [
                {"Type": "GreaterThanOrEqualTo", "LeftValue": accuracy, "RightValue": get("Parameters.Threshold")},
                {"Type": "Equals", "LeftValue": json_get("Judge", "Verdict", "n.is[0]"), "RightValue": 7},
            ],
            [registration("Register", "scenes", below_run("judge/model.tar.gz"), accuracy=get("Parameters.Accuracy"))],
            [fail("Refuse", {"Std:Join": {"On": ": ", "Values": ["refused", json_get("Judge", "Verdict", "reason")]}})],
        ),
        processing(
            "Judge",
            judge,
            get("Parameters.Accuracy"),
            inputs={"run": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")},
            files={"Verdict": "verdict.json"},
        ),
        training("Train", train, {"data": output_of("Make")}, epochs=epochs, revision="abc"),
        processing("Make", make, "--epochs", epochs, "--rate", rate),
        Epochs=3,
        Rate=0.003,
        Accuracy="0.9",
        Threshold=0.85,
    )


def test_a_good_model_ends_in_the_registry_and_its_archive_can_be_served(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenario.run(_decided(scenario)) == 0
    said = capsys.readouterr().out
    steps = [line.split()[0] for line in said.splitlines()[1:-2]]
    assert steps == ["Make", "Train", "Judge", "Decide", "Register"]
    assert "Train" in said
    assert "val_accuracy 0.7500" in said
    assert re.search(r"^registered arn:aws:sagemaker:.*/scenes/1$", said, re.MULTILINE)
    assert (scenario.work / "model" / "m.mar").read_text() == "archive"
    (told,) = scenario.work.glob("executions/*/steps/Train/ml/input/config/hyperparameters.json")
    assert json.loads(told.read_text()) == {"epochs": "3", "revision": "abc"}


def test_a_model_below_the_threshold_fails_with_the_reason_that_its_evaluation_gave(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenario.run(_decided(scenario), "Accuracy=0.5") == 1
    said = capsys.readouterr()
    assert said.err == "driftserve_pipeline: failed: Refuse: refused: too bad\n"
    assert "Register" not in said.out
    assert not (scenario.work / "model").exists()
