"""Run buildspec.yml like CodeBuild, phase by phase, with stubs for the registry and the AWS account."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkout import ROOT
from containers import DOCKER, tag

SPEC: dict[str, Any] = yaml.safe_load((ROOT / "buildspec.yml").read_text())
COMMANDS = [command for phase in SPEC["phases"].values() for command in phase.get("commands", ())]
DIGEST = "sha256:" + "5" * 64
# The real Docker, except for commands that would reach a registry.
STUB_DOCKER = f"""#!/bin/sh
case "$1" in
  login) cat > "$STUB_PLACE/password" ;;
  push) echo "$2" >> "$STUB_PLACE/pushed"; echo "latest: digest: {DIGEST} size: 1234" ;;
  build) echo "$@" >> "$STUB_PLACE/built" ;;
  *) exec {shutil.which(DOCKER)} "$@" ;;
esac
"""
STUB_AWS = """#!/bin/sh
echo password
"""


def test_all_commands_are_existing_make_targets() -> None:
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {command.removeprefix("make ") for command in COMMANDS} <= set(verbs)


@pytest.mark.image
@pytest.mark.timeout(600)
def test_the_phases_test_build_and_push_images_by_digest(tmp_path: Path) -> None:
    """Use the existing images and only some of the tests; other tests cover both."""
    for target in SPEC["env"]["variables"]["TARGETS"].split():
        tag(target)
    for name, text in (("docker", STUB_DOCKER), ("aws", STUB_AWS)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    overrides = {"DOCKER": tmp_path / "docker", "DOCKER_BUILD": f"{tmp_path}/docker build", "AWS": tmp_path / "aws"}
    makeflags = " ".join(f"{name}={str(value).replace(' ', chr(92) + ' ')}" for name, value in overrides.items())
    environment = os.environ | {
        "MAKEFLAGS": makeflags,
        "STUB_PLACE": str(tmp_path),
        "REGISTRY": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123abc",
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        **SPEC["env"]["variables"],
    }
    remotes: list[str] = []
    try:
        for phase in ("pre_build", "build", "post_build"):
            for command in SPEC["phases"][phase]["commands"]:
                few = {"PYTEST_ADDOPTS": "-k test_settings"} if command == "make test" else {}
                done = subprocess.run(
                    ["sh", "-c", command], cwd=ROOT, env=environment | few, capture_output=True, text=True
                )
                assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        remotes += (tmp_path / "pushed").read_text().splitlines()
        assert remotes[0] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/driftserve:serving-0123abc"
        assert (tmp_path / "password").read_text() == "password\n"
        assert len((tmp_path / "built").read_text().splitlines()) == 4
        definitions = json.loads((ROOT / "imagedefinitions.json").read_text())
        assert [definition["name"] for definition in definitions] == ["serving", "serving-mms", "lambda", "training"]
        assert {definition["imageUri"].partition("@")[2] for definition in definitions} == {DIGEST}
        for name in SPEC["artifacts"]["files"]:
            assert list(ROOT.glob(name)), name
    finally:
        (ROOT / "imagedefinitions.json").unlink(missing_ok=True)
        for remote in remotes:
            subprocess.run([DOCKER, "rmi", remote], capture_output=True)
