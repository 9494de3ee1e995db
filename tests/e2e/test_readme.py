"""Run the commands of README.md and docs/archives.md in a copy of the tree, with the current environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checkout import ROOT
from driftserve.host.ports import free_ports
from processes import wait_for

README = (ROOT / "README.md").read_text()
CURL = "curl -H 'Content-Type: image/jpeg' --data-binary @build/demo/data/test/sea/0000.jpg localhost:8080/invocations"
SEND = CURL.replace("curl", "head -200 | xargs -I% curl -so /dev/null").replace(
    "build/demo/data/test/sea/0000.jpg", "%"
)
NORMAL_TRAFFIC = f"shuf -e build/demo/data/stream/*/*.jpg | {SEND}"
TWO_CLASSES = f"ls build/demo/data/*/s*/*.jpg | {SEND}"
INSTALLED = Path(sys.prefix, ".installed")
# Do not install anything: use the environment of this test run in place of the one that make would create.
MAKE = ["make", "--assume-old=.venv/.installed"]
DEMO_TIMEOUT_SECONDS = 600

pytestmark = pytest.mark.timeout(DEMO_TIMEOUT_SECONDS + 60)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files. The commands run the code of the copy."""
    for tool in ("git", "make", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if not INSTALLED.exists():
        pytest.skip(f"{sys.prefix} was not made by `make install`")
    copy = tmp_path_factory.mktemp("readme") / "driftserve"
    known = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(known, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


@pytest.fixture(scope="module")
def environment(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables that put the copy's packages before the installed ones, and a TMPDIR without other monitors."""
    packages = os.pathsep.join(str(checkout / folder) for folder in ("handler", "training", "demo"))
    return os.environ | {
        "PYTHONPATH": packages,
        "TMPDIR": str(tmp_path_factory.mktemp("t")),
        "DRIFTSERVE_WORKERS": "1",  # one process of torch less, and the commands need no second
    }


@pytest.fixture(scope="module")
def demo(checkout: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of `make demo`, which runs once for this file."""
    log = tmp_path_factory.mktemp("log") / "log"
    with _group([*MAKE, "demo", f"PORT={free_ports(1)[0]}", "QUICK=1"], checkout, environment, log) as make:
        assert make.wait(DEMO_TIMEOUT_SECONDS) == 0, log.read_text()[-4000:]
    shown = log.read_text()
    assert "calm traffic: done" in shown
    assert "\x1b" not in shown  # no control characters where there is no terminal
    assert "model card      build/demo/card.html" in shown
    assert (checkout / "build/demo/card.html").is_file()
    report: dict[str, object] = json.loads((checkout / "build/demo/report.json").read_text())
    return report


def _commands(page: str) -> list[str]:
    """Return the commands of a page: the lines of its blocks that are marked as `sh`."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@contextmanager
def _group(
    command: list[str], folder: Path, environment: dict[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process in its own process group; end the whole group after the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def test_every_command_of_the_readme_is_tested() -> None:
    assert _commands("README.md") == [
        "make demo",
        "make serve PORT=8080",
        CURL,
        NORMAL_TRAFFIC,
        ".venv/bin/driftserve status",
        TWO_CLASSES,
        ".venv/bin/driftserve status",
        "make demo DATA=path/to/images WEIGHTS=path/to/weights.safetensors",  # tested by make acceptance
        "make image TARGETS=serving",  # tested by make test-images, in tests/container
        "make run PORT=8080",
        'docker run --rm -p 127.0.0.1:8080:8080 -v "$PWD/build/demo/model:/opt/ml/model:ro" driftserve:serving serve',
        "make test",  # this run
    ]
    assert len(README.splitlines()) < 120


def test_the_demo_trains_serves_and_notices_drift_on_synthetic_images(demo: dict[str, dict[str, object]]) -> None:
    assert demo["data"]["is_synthetic"] is True
    assert demo["serving"]["errors"] == 0
    assert demo["parity"]["max_abs_diff"] <= 1e-4
    assert demo["parity"]["argmax_agreement"] == 1.0
    drift = demo["drift"]
    assert drift["undrifted"]["windows"] >= 2  # `make acceptance` requires more, with the whole demo
    assert drift["undrifted"]["alarms"] <= 1
    assert drift["corrupted"]["alarms"] == drift["corrupted"]["windows"] >= 1
    assert drift["ood"] is None
    assert demo["cloudwatch"]["datapoints"] > 0


@pytest.mark.usefixtures("demo")
def test_make_serve_answers_curl_and_status_and_ends_on_ctrl_c(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    port = str(free_ports(1)[0])
    curl = CURL.replace("8080", port)
    documented = next(block for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if "label" in block)

    def run(command: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(command, shell=True, cwd=checkout, env=environment, capture_output=True)  # noqa: S602

    with _group([*MAKE, "serve", f"PORT={port}"], checkout, environment, tmp_path / "log") as serve:

        def answer() -> dict[str, object] | None:
            assert serve.poll() is None, (tmp_path / "log").read_text()
            done = run(f"{curl} --silent")
            return json.loads(done.stdout) if done.returncode == 0 and b'"label"' in done.stdout else None

        assert list(wait_for(answer, 60)) == list(json.loads(documented))
        wait_for(lambda: b'"observations": 1' in run(".venv/bin/driftserve status --json").stdout, 10)
        assert b"scenes/1  INSUFFICIENT_DATA" in run(".venv/bin/driftserve status").stdout
        for traffic, state in ((NORMAL_TRAFFIC, b"scenes/1  OK"), (TWO_CLASSES, b"scenes/1  DRIFT")):
            assert run(traffic.replace("8080", port)).returncode == 0
            wait_for(lambda state=state: state in run(".venv/bin/driftserve status").stdout, 10)  # type: ignore[misc]
        os.killpg(serve.pid, signal.SIGINT)  # a terminal sends Ctrl-C to make and all its children
        serve.wait(40)
        wait_for(lambda: run(curl).returncode == 7, 20)  # connection refused


@pytest.mark.usefixtures("demo")
def test_the_commands_of_the_page_about_archives_work(checkout: Path, environment: dict[str, str]) -> None:
    def run(start: str) -> str:
        (command,) = [command for command in _commands("docs/archives.md") if command.startswith(start)]
        done = subprocess.run(command.split(), cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    name, digest = run(".venv/bin/driftserve verify").split()
    assert name == "scenes/1"
    assert digest in run(".venv/bin/driftserve inspect")
    assert json.loads(run(".venv/bin/driftserve predict"))["model"] == {"name": "scenes", "version": "1"}


def test_make_serve_without_an_archive_says_what_to_do(checkout: Path, environment: dict[str, str]) -> None:
    command = [*MAKE, "serve", "ARCHIVE=nowhere"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no archive at nowhere: run 'make demo' first" in done.stderr
