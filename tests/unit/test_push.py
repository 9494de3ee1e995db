"""What is pushed, and how it is named, by a Docker that writes down what it is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT

DIGEST = "sha256:" + "3" * 64
FAKE_DOCKER = f"""#!/bin/sh
# A fake Docker: writes down its arguments, and answers a push as the real one does.
echo "$@" >> calls
[ "$1" != push ] || [ -n "$FAILS" ] || echo "latest: digest: {DIGEST} size: 1234"
[ "$1" != push ] || [ -z "$FAILS" ]
"""


def _push(
    place: Path, *targets: str, registry: str = "registry", **environment: str
) -> subprocess.CompletedProcess[str]:
    fake = place / "docker"
    fake.write_text(FAKE_DOCKER)
    fake.chmod(0o755)
    command = [sys.executable, ROOT / "container" / "push.py", "--docker", fake, "--registry", registry]
    command += ["--repository", "scenes", "--image", "driftserve", "--revision", "abc", *targets]
    return subprocess.run(command, cwd=place, env=os.environ | environment, capture_output=True, text=True)


def test_images_are_named_by_the_digest_that_the_registry_gave(tmp_path: Path) -> None:
    assert _push(tmp_path, "serving", "lambda").returncode == 0
    assert json.loads((tmp_path / "imagedefinitions.json").read_text()) == [
        {"name": "serving", "imageUri": f"registry/scenes@{DIGEST}"},
        {"name": "lambda", "imageUri": f"registry/scenes@{DIGEST}"},
    ]
    assert (tmp_path / "calls").read_text().splitlines()[:2] == [
        "tag driftserve:serving registry/scenes:serving-abc",
        "push registry/scenes:serving-abc",
    ]


@pytest.mark.parametrize(
    ("registry", "environment", "message"),
    [
        ("", {}, "expected a registry"),
        ("registry", {"CODEBUILD_BUILD_SUCCEEDING": "0"}, "no image is pushed"),
        ("registry", {"FAILS": "1"}, "expected a digest"),
    ],
)
def test_what_cannot_be_pushed_is_said_and_nothing_is_defined(
    tmp_path: Path, registry: str, environment: dict[str, str], message: str
) -> None:
    done = _push(tmp_path, "serving", registry=registry, **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "imagedefinitions.json").exists()
