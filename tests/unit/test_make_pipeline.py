"""Tests of the arguments that `make pipeline-dry` and `make pipeline-local` pass on; a fake Python records them."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from checkout import ROOT

FAKE_PYTHON = """#!/bin/sh
# A fake Python: writes down its arguments and the pipeline's settings.
printf '%s\\n' "$@" >> "$CALLS"
env | sed -n /^DRIFTSERVE_PIPELINE_/p >> "$CALLS"
"""


def _make(place: Path, *arguments: str, **environment: str) -> list[str]:
    """Run make with a fake Python; return the arguments and settings that it recorded."""
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
def test_values_with_special_characters_reach_the_program_unchanged(tmp_path: Path, verb: str) -> None:
    odd = "/scenes of 'May'; `id` & more"
    given = ["A=it's;b", "B=*", 'C="x"', "D=(e)"]
    weights = "/weights/it's;a.safetensors"
    sent = _make(tmp_path, verb, f"DATA={odd}", f"PARAMS={' '.join(given)}", f"WEIGHTS={weights}", "REVISION=abc")
    assert set(given) <= set(sent)
    assert sent[sent.index("--images") + 1] == odd
    assert sent[sent.index("--weights") + 1] == weights
    assert sent[sent.index("--pipeline-python") + 1] == f"{tmp_path}/sdk/bin/python"
    assert "CodeRevision=abc" in sent
    assert "--drawn" not in sent


@pytest.mark.parametrize("verb", ["pipeline-dry", "pipeline-local"])
def test_without_images_both_use_generated_scenes(tmp_path: Path, verb: str) -> None:
    drawn = tmp_path / "pipeline-data"
    drawn.mkdir()
    sent = _make(tmp_path, verb, f"BUILD={tmp_path}")
    assert sent[sent.index("--images") + 1] == str(drawn)
    assert "--drawn" in sent
    assert "--weights" not in sent


def test_a_dry_run_starts_again_only_if_asked(tmp_path: Path) -> None:
    assert "--again" in _make(tmp_path / "a", "pipeline-dry", "DATA=/scenes", "AGAIN=1")
    assert "--again" not in _make(tmp_path / "b", "pipeline-dry", "DATA=/scenes")


def test_images_and_engine_of_the_run_in_containers_can_be_chosen(tmp_path: Path) -> None:
    flags = ("IMAGES_PER_CLASS=7", "DOCKER=podman", "IMAGE=ours")
    sent = shlex.join(_make(tmp_path, "pipeline-local", "DATA=/scenes", *flags))
    assert "--images-per-class 7" in sent
    assert "--docker podman" in sent
    assert "--image-repository ours" in sent


@pytest.mark.parametrize("verb", ["pipeline-dry", "pipeline-local"])
def test_given_settings_are_not_overridden(tmp_path: Path, verb: str) -> None:
    (tmp_path / "pipeline-data").mkdir()
    given = {
        "DRIFTSERVE_PIPELINE_TRAINING_IMAGE": "ours:training",
        "DRIFTSERVE_PIPELINE_SERVING_IMAGE": "ours:serving",
        "DRIFTSERVE_PIPELINE_PRETRAINED": "true",
        "DRIFTSERVE_PIPELINE_ROBUSTNESS_IMAGES": "3",
        "DRIFTSERVE_PIPELINE_EXPLAINED_IMAGES": "2",
    }
    sent = _make(tmp_path, verb, f"BUILD={tmp_path}", **given)
    assert {f"{name}={value}" for name, value in given.items()} <= set(sent)


def test_a_setting_may_be_given_as_a_variable_of_make(tmp_path: Path) -> None:
    setting = "DRIFTSERVE_PIPELINE_TUNING=true"
    assert setting in _make(tmp_path, "pipeline-dry", "DATA=/scenes", setting)
