"""What the build installs is named exactly: the build backend, what it needs, and the base image of the containers."""

import re
from pathlib import Path

import pytest

from checkout import ROOT

PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml")])
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_the_build_backend_has_the_version_of_the_constraints(project: Path) -> None:
    (needed,) = re.findall(r"^requires = (.*)$", project.read_text(), re.MULTILINE)
    assert needed == f'["hatchling=={PINNED["hatchling"]}"]'


def test_what_builds_packages_is_pinned_too() -> None:
    needed = {"packaging", "pathspec", "pluggy", "setuptools", "tomli", "tomlkit", "trove-classifiers", "wheel"}
    assert needed <= set(PINNED)
    # In a build, pip's environments for building take this variable, and no argument of the command.
    assert "PIP_CONSTRAINT=/src/constraints.txt" in (ROOT / "Dockerfile").read_text()


def test_the_base_image_can_be_given_by_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "ARG BASE=debian:bookworm-slim\n" in dockerfile
    assert re.findall(r"^FROM \S*[:/]\S* ", dockerfile, re.MULTILINE) == []  # no other stage names an image of its own
    assert "@sha256:" in (ROOT / "docs" / "docker.md").read_text()
