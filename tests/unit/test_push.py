"""Tests of container/push.py with a fake Docker that records its arguments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT

DIGEST = "sha256:" + "3" * 64
FAKE_DOCKER = f"""#!/bin/sh
# A fake Docker: records its arguments and answers a push like the real one.
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


def test_image_definitions_use_the_digest_from_the_registry(tmp_path: Path) -> None:
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
def test_a_failed_push_is_an_error_and_writes_no_image_definitions(
    tmp_path: Path, registry: str, environment: dict[str, str], message: str
) -> None:
    done = _push(tmp_path, "serving", registry=registry, **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "imagedefinitions.json").exists()
