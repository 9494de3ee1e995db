"""What `make pipeline-dry` and `make pipeline-local` hand to the programs, by a Python that writes it down."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from model_servers import ROOT

FAKE_PYTHON = """#!/bin/sh
# A fake Python: writes down its arguments and the pipeline's settings.
printf '%s\\n' "$@" >> "$CALLS"
env | sed -n /^DRIFTSERVE_PIPELINE_/p >> "$CALLS"
"""


def _make(place: Path, *arguments: str, **environment: str) -> list[str]:
    """The lines that were written down."""
    for name in ("venv", "sdk"):
        python = place / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
        (place / name / ".installed").touch()
    command = ["make", f"VENV={place / 'venv'}", f"VENV_PIPELINE={place / 'sdk'}", *arguments]
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("DRIFTSERVE_", "MAKE"))}
    done = subprocess.run(
        command, cwd=ROOT, env=ours | environment | {"CALLS": str(place / "calls")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return (place / "calls").read_text().splitlines()


@pytest.mark.parametrize("verb", ["pipeline-dry", "pipeline-local"])
def test_what_is_given_reaches_the_program_whatever_is_in_it(tmp_path: Path, verb: str) -> None:
    odd = "/scenes of 'May'; `id` & more"
    given = ["A=it's;b", "B=*", 'C="x"', "D=(e)"]
    said = _make(tmp_path, verb, f"DATA={odd}", f"PARAMS={' '.join(given)}")
    assert set(given) <= set(said)
    assert (odd if verb == "pipeline-local" else f"TrainLocation={odd}") in said


def test_a_folder_given_relative_is_handed_over_as_absolute(tmp_path: Path) -> None:
    assert f"TrainLocation={ROOT}/my scenes" in _make(tmp_path, "pipeline-dry", "DATA=my scenes")


def test_images_and_engine_of_the_run_in_containers_can_be_chosen(tmp_path: Path) -> None:
    said = shlex.join(_make(tmp_path, "pipeline-local", "DATA=/scenes", "IMAGES_PER_CLASS=7", "DOCKER=podman"))
    assert "--images-per-class 7" in said
    assert "--docker podman" in said


def test_settings_that_are_given_are_not_overridden(tmp_path: Path) -> None:
    (tmp_path / "pipeline-dry" / "data").mkdir(parents=True)
    given = {
        "DRIFTSERVE_PIPELINE_TRAINING_IMAGE": "ours:training",
        "DRIFTSERVE_PIPELINE_SERVING_IMAGE": "ours:serving",
        "DRIFTSERVE_PIPELINE_PRETRAINED": "true",
        "DRIFTSERVE_PIPELINE_ROBUSTNESS_IMAGES": "3",
        "DRIFTSERVE_PIPELINE_EXPLAINED_IMAGES": "2",
    }
    said = _make(tmp_path, "pipeline-local", f"BUILD={tmp_path}", **given)
    assert {f"{name}={value}" for name, value in given.items()} <= set(said)
