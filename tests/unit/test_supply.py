"""What the build installs is named exactly: packages by hash, the build backend, the base image of the containers."""

import hashlib
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from checkout import ROOT

PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml")])
LOCKS = {"constraints.txt": "packages.txt", "constraints-pipeline.txt": "pipeline.txt"}


def _pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.MULTILINE)
    return {re.sub(r"[._-]+", "-", name): version for name, version in found}


PINNED = _pins(ROOT / "constraints.txt")


@pytest.mark.parametrize(("constraints", "lock"), LOCKS.items())
def test_each_package_is_locked_with_the_version_of_the_constraints_and_hashes(constraints: str, lock: str) -> None:
    locked = ROOT / "locks" / lock
    assert _pins(ROOT / constraints).items() <= _pins(locked).items()
    entries = locked.read_text().replace("\\\n", "").splitlines()
    assert [
        line for line in entries if not line.startswith("#") and not re.search("--hash=sha256:[0-9a-f]{64}", line)
    ] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_each_requirement_of_a_project_is_locked(project: Path) -> None:
    described = re.split(r"^\[tool\.", project.read_text(), flags=re.MULTILINE)[0]
    needed = set(re.findall(r'^ {4}"([\w.-]+)', described, re.MULTILINE))
    locked = {name for lock in LOCKS.values() for name in _pins(ROOT / "locks" / lock)}
    assert needed
    assert needed - {"driftserve"} <= locked


def test_the_locks_have_the_hashes_of_torchs_cpu_wheels_and_name_no_package_index() -> None:
    lock = (ROOT / "locks" / "packages.txt").read_text()
    wheels = (ROOT / "locks" / "torch-cpu.txt").read_text().splitlines()
    assert wheels
    for digest, name in (line.split("  ") for line in wheels):
        assert name.startswith(f"torch-{PINNED['torch']}+cpu-")
        assert digest in lock
    for name in LOCKS.values():
        assert not re.search(r"://|--[a-z-]*index|--find-links", (ROOT / "locks" / name).read_text())


@pytest.mark.parametrize("genuine", [True, False], ids=["the same bytes", "other bytes"])
def test_a_package_with_other_bytes_is_not_installed(tmp_path: Path, genuine: bool) -> None:
    # A real pip, and a package of ours in a folder: no package index takes part.
    name = "lockedexample"
    wheel = tmp_path / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"{name}==1 \\\n    --hash=sha256:{digest if genuine else digest[::-1]}\n")
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    environment = os.environ | {"PIP_PYTHON": str(python), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    command = [sys.executable, str(ROOT / "locks" / "install.py"), str(lock), "--requirement", name]
    done = subprocess.run(command, env=environment | {"PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True)
    assert (done.returncode == 0) is genuine, done.stderr
    assert bool(list(tmp_path.glob(f"venv/lib/*/site-packages/{name}.py"))) is genuine
    if not genuine:
        assert "DO NOT MATCH THE HASHES" in done.stderr
        assert f"expected packages with the hashes of {lock}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_the_build_backend_has_the_version_of_the_constraints(project: Path) -> None:
    (needed,) = re.findall(r"^requires = (.*)$", project.read_text(), re.MULTILINE)
    assert needed == f'["hatchling=={PINNED["hatchling"]}"]'


def test_nothing_is_installed_without_a_lock() -> None:
    # What builds packages comes from the lock too: pip makes no environments of its own for building.
    needed = {"packaging", "pathspec", "pip", "pluggy", "setuptools", "tomli", "tomlkit", "trove-classifiers", "wheel"}
    assert needed <= set(PINNED)
    for name in ("Dockerfile", "container/finish.sh"):
        installs = re.findall(r"pip (?:install|wheel) .*", (ROOT / name).read_text())
        assert [
            line for line in installs if not re.search("--require-hashes|--no-build-isolation|--no-index", line)
        ] == []


def test_the_base_image_can_be_given_by_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "ARG BASE=debian:bookworm-slim\n" in dockerfile
    assert re.findall(r"^FROM \S*[:/]\S* ", dockerfile, re.MULTILINE) == []  # no other stage names an image of its own
    assert "@sha256:" in (ROOT / "docs" / "docker.md").read_text()
