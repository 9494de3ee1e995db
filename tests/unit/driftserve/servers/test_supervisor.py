"""Tests of `driftserve serve` before it starts a server. As multi-model MMS is refused, no test has to end a server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftserve.host.claim import claim
from driftserve.host.ports import free_ports


def _serve(cwd: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {"DRIFTSERVE_MULTI_MODEL": "true", "DRIFTSERVE_SERVER": "mms", **settings}
    return subprocess.run(
        [sys.executable, "-m", "driftserve", "serve", *arguments, "--port", str(free_ports(1)[0])],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


NAMES = ("beginning", "mms", "models", "store", "torchserve", "workers")


@pytest.mark.parametrize("setting", ["folder", "."])
def test_files_in_a_directory_that_driftserve_did_not_make_are_kept(tmp_path: Path, setting: str) -> None:
    kept = [tmp_path / "folder" / name / "scenes.mar" for name in NAMES]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("a customer's")
    done = _serve(tmp_path if setting == "folder" else tmp_path / "folder", DRIFTSERVE_RUNTIME_DIR=setting)
    assert _reason(done) == (
        f"driftserve: {tmp_path}/folder: expected an empty directory, or one that driftserve made, because it deletes "
        "files there; got one with beginning; set DRIFTSERVE_RUNTIME_DIR to another"
    )
    assert sorted(path for path in (tmp_path / "folder").rglob("*") if path.is_file()) == kept


@pytest.mark.parametrize(
    ("name", "runtime", "other"),
    [
        ("DRIFTSERVE_MODELS_DIR", "r", "r/models"),
        ("DRIFTSERVE_MODELS_DIR", "r/store", "r"),
        ("DRIFTSERVE_RECORD_DIR", "r", "r"),
        ("the archive", "r", "r/store"),
    ],
)
def test_directories_that_overlap_are_refused_and_their_files_are_kept(
    tmp_path: Path, name: str, runtime: str, other: str
) -> None:
    claim(tmp_path / runtime, "")
    kept = tmp_path / other / "scenes.mar"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("a customer's")
    places = {"DRIFTSERVE_RUNTIME_DIR": str(tmp_path / runtime)}
    if name == "the archive":
        done = _serve(tmp_path, other, **places, DRIFTSERVE_MULTI_MODEL="false")
    else:
        done = _serve(tmp_path, **places, **{name: str(tmp_path / other)})
    assert _reason(done).startswith(f"driftserve: DRIFTSERVE_RUNTIME_DIR: expected a directory apart from {name}")
    assert f"{tmp_path / other}, got {tmp_path / runtime}" in done.stderr
    assert kept.read_text() == "a customer's"


def test_a_record_directory_that_others_can_write_to_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    (tmp_path / "record").chmod(0o777)
    reason = _reason(_serve(tmp_path, DRIFTSERVE_RECORD_DIR="record"))
    assert reason.startswith(f"driftserve: {tmp_path}/record: expected a directory of this user")
    assert reason.endswith("set DRIFTSERVE_RECORD_DIR to another, or change its owner or mode")
