"""Tests of the images: their content, size, start and ports."""

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from containers import DOCKER, Container, container, docker, readable, seconds_to_first_answer, serving, tag
from driftserve.archive.reading import find_archive
from processes import wait_for
from sample_images import encode, scene

pytestmark = pytest.mark.image

TARGETS = ("serving", "serving-mms", "lambda", "training")
SERVERS = ("serving", "serving-mms")
IMAGE = encode(scene(np.random.default_rng(21)))

MAX_IMAGE_BYTES = 1.1e9
MAX_FIRST_ANSWER_SECONDS = 10.0
MAX_MEMORY_BYTES = 1e9


def _inside(image: str, script: str) -> str:
    return docker("run", "--rm", "--entrypoint", "sh", image, "-c", script)


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_contains_no_build_tools(target: str) -> None:
    found = _inside(tag(target), "for name in pip pip3 gcc cc g++ make javac git; do command -v $name; done; true")
    assert found == ""
    assert _inside(tag(target), "python -c 'import pip' 2>&1 || true").endswith("No module named 'pip'")


@pytest.mark.parametrize("target", TARGETS)
def test_all_bytecode_was_compiled_when_the_image_was_built(target: str) -> None:
    script = "cd /opt/venv/lib/python3*/site-packages && find . -name '*.py' | wc -l && find . -name '*.pyc' | wc -l"
    sources, compiled = map(int, _inside(tag(target), script).split())
    assert sources == compiled > 1000


@pytest.mark.parametrize("target", ["serving", "serving-mms", "lambda"])
def test_the_container_does_not_run_as_root(target: str) -> None:
    assert _inside(tag(target), "id -u") == "10001"


@pytest.mark.parametrize("target", TARGETS)
def test_labels_identify_the_image(target: str) -> None:
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", tag(target)))
    assert labels["org.opencontainers.image.title"] == "driftserve"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] not in ("", "unknown")
    assert labels["org.opencontainers.image.revision"] not in ("", "unknown")
    if target in SERVERS:
        assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert ("com.amazonaws.sagemaker.capabilities.multi-models" in labels) == (target == "serving")


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_is_in_the_image(target: str) -> None:
    document = json.loads(_inside(tag(target), "cat /opt/driftserve/sbom.cdx.json"))
    assert document["bomFormat"] == "CycloneDX"
    versions = {component["name"]: component["version"] for component in document["components"]}
    installed = _inside(
        tag(target), "python -c 'import torch; print(torch.__version__)'; dpkg-query -W -f '${Version}' libc6"
    )
    assert [versions["torch"], versions["libc6"]] == installed.split()
    assert "pip" not in versions
    server = {
        "serving": "torchserve",
        "serving-mms": "multi-model-server",
        "lambda": "awslambdaric",
        "training": "timm",
    }
    assert server[target] in versions
    assert "driftserve" in versions
    assert ("openjdk-17-jre-headless" in versions) == (target in SERVERS)


def test_the_serving_image_is_below_its_size_limit() -> None:
    assert int(docker("inspect", "--format", "{{.Size}}", tag("serving"))) <= MAX_IMAGE_BYTES


@pytest.mark.parametrize("target", SERVERS)
def test_start_time_and_memory_are_within_their_limits(
    target: str, archive: Path, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Use the archive of --archive if given, else the tiny one."""
    model_dir = readable(tmp_path / "model", find_archive(Path(pytestconfig.getoption("--archive") or archive)))
    options = ("--cpus", "2", "--publish", "127.0.0.1::8080", "--volume", f"{model_dir}:/opt/ml/model:ro")
    since = time.monotonic()
    with container(tag(target), options=options, settings={"DRIFTSERVE_WORKERS": "2"}) as started:
        url = "http://" + docker("port", started.id, "8080")
        seconds = seconds_to_first_answer(url, IMAGE, since)
        for _ in range(500):
            assert Container(started.id, url).post(IMAGE).status == 200
        memory = started.memory_bytes()
        assert len(started.workers()) == 2
        assert started.find("driftserve monitor")
    print(f"\n{target}: first answer after {seconds:.1f} s, {memory / 1e6:.0f} MB after 500 requests")
    assert seconds <= MAX_FIRST_ANSWER_SECONDS
    assert memory <= MAX_MEMORY_BYTES


@pytest.mark.parametrize("target", SERVERS)
def test_the_container_starts_without_a_network(target: str, model_dir: Path) -> None:
    options = ("--network", "none", "--volume", f"{model_dir}:/opt/ml/model:ro")
    with container(tag(target), options=options) as started:
        wait_for(lambda: "ready: a golden image" in started.log() or not started.is_running())
        assert started.is_running(), started.log()


@pytest.mark.parametrize("target", SERVERS)
def test_only_the_inference_port_listens_on_all_interfaces(target: str, model_dir: Path) -> None:
    with serving(tag(target), model_dir) as server:
        lines = server.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
        listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
        loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
        assert [place.split(":")[1] for place in listening if not place.startswith(loopback)] == [f"{8080:04X}"]


@pytest.mark.parametrize("target", SERVERS)
def test_sagemakers_port_and_the_cpu_limit_are_used(target: str, model_dir: Path) -> None:
    options = ("--cpus", "1", "--publish", "127.0.0.1::9001", "--volume", f"{model_dir}:/opt/ml/model:ro")
    with container(tag(target), "serve", options=options, settings={"SAGEMAKER_BIND_TO_PORT": "9001"}) as started:
        url = "http://" + docker("port", started.id, "9001")
        seconds_to_first_answer(url, IMAGE, 0.0)
        assert len(started.workers()) == 1


@pytest.mark.parametrize("target", SERVERS)
def test_the_supervisor_is_process_1_and_reaps_zombies(target: str, model_dir: Path) -> None:
    with serving(tag(target), model_dir) as server:
        assert "/opt/venv/bin/driftserve serve" in server.processes()[1]
        server.kill(server.find("driftserve monitor")[0])
        wait_for(lambda: "the monitor ended with -9" in server.log())
        states = server.run("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1")
        assert "Z" not in states


def test_the_image_can_verify_the_archive(model_dir: Path) -> None:
    done = docker("run", "--rm", "--volume", f"{model_dir}:/opt/ml/model:ro", tag("serving"), "verify", "/opt/ml/model")
    assert done.startswith("tiny/7 ")


@pytest.mark.parametrize("target", SERVERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [({"a.mar": b"no zip"}, "a.mar: expected"), ({}, "expected a .mar file"), (None, "got a.mar, b.mar")],
)
def test_a_broken_archive_ends_the_container_with_a_one_line_error(
    tmp_path: Path, target: str, content: dict[str, bytes] | None, message: str
) -> None:
    place = tmp_path / "model"
    place.mkdir()
    for name, text in ({"a.mar": b"", "b.mar": b""} if content is None else content).items():
        (place / name).write_bytes(text)
    readable(place)
    command = [DOCKER, "run", "--rm", "--volume", f"{place}:/opt/ml/model:ro", tag(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftserve: ")
    assert message in line
