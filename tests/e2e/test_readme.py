"""What README tells a newcomer to type, typed: in a copy of the tree, with this environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftserve.servers.ports import free_ports
from processes import wait_for

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, and the environment that is installed already."""
    copy = tmp_path_factory.mktemp("readme") / "driftserve"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    environment = Path(sys.prefix)
    (copy / ".venv").symlink_to(environment)
    (environment / ".installed").touch()  # newer than the copy's pyproject.toml, so that make installs nothing
    return copy


@pytest.fixture(scope="module")
def demo(checkout: Path) -> dict[str, dict[str, object]]:
    """The report of `make demo`, run once for this file."""
    assert "make demo" in COMMANDS
    (port,) = free_ports(1)
    done = subprocess.run(
        ["make", "demo", f"PORT={port}", "EPOCHS=2"], cwd=checkout, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "undrifted" in done.stdout
    report: dict[str, dict[str, object]] = json.loads((checkout / "build/demo/report.json").read_text())
    return report


def test_every_command_of_the_readme_is_one_that_is_tested_here() -> None:
    assert COMMANDS == [
        "make demo",
        "make demo DATA=path/to/images WEIGHTS=path/to/weights.safetensors",  # make acceptance
        "make serve PORT=8080",
        "curl -H 'Content-Type: image/jpeg' --data-binary @build/demo/data/test/sea/0000.jpg "
        "localhost:8080/invocations",
        ".venv/bin/driftserve status",
        ".venv/bin/driftserve status --json",
        "make test",  # this
    ]
    assert len(README.splitlines()) < 200


def test_the_demo_trains_serves_and_notices_drift_on_synthetic_images(demo: dict[str, dict[str, object]]) -> None:
    assert demo["data"]["is_synthetic"] is True
    assert demo["serving"]["errors"] == 0
    assert demo["parity"]["max_abs_diff"] <= 1e-4
    assert demo["parity"]["argmax_agreement"] == 1.0
    drift = demo["drift"]
    assert drift["undrifted"]["windows"] >= 10
    assert drift["undrifted"]["alarms"] <= 1
    assert drift["corrupted"]["alarms"] == drift["corrupted"]["windows"] >= 2
    assert drift["ood"] is None
    assert demo["cloudwatch"]["datapoints"] > 0


@pytest.mark.usefixtures("demo")
def test_make_serve_answers_curl_and_status_and_ends_on_sigterm(checkout: Path, tmp_path: Path) -> None:
    port = str(free_ports(1)[0])
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # other monitors of this user are elsewhere
    serve = subprocess.Popen(["make", "serve", f"PORT={port}"], cwd=checkout, env=environment)
    try:
        curl = next(command for command in COMMANDS if command.startswith("curl")).replace("8080", port)

        def answer() -> dict[str, object] | None:
            done = subprocess.run(f"{curl} --silent", shell=True, cwd=checkout, capture_output=True)  # noqa: S602
            assert serve.poll() is None
            return json.loads(done.stdout) if done.returncode == 0 and b'"label"' in done.stdout else None

        answered = wait_for(answer, 60)
        documented = json.loads(
            next(block for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if "label" in block)
        )
        assert list(answered) == list(documented)

        def status() -> dict[str, object]:
            command = [str(checkout / ".venv/bin/driftserve"), "status", "--json"]
            done = subprocess.run(command, env=environment, capture_output=True)
            return json.loads(done.stdout)["models"] if done.returncode == 0 else {}

        assert wait_for(status, 10)["scenes/1"]["observations"] >= 1
        serve.send_signal(signal.SIGTERM)
        serve.wait(40)
    finally:
        if serve.poll() is None:
            serve.kill()
    assert subprocess.run(curl, shell=True, cwd=checkout, capture_output=True).returncode == 7  # noqa: S602  refused


def test_make_serve_without_an_archive_says_what_to_do(checkout: Path) -> None:
    done = subprocess.run(["make", "serve", "ARCHIVE=nowhere"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no archive at nowhere: run 'make demo' first" in done.stderr
