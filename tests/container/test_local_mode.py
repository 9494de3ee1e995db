"""Serve the images with the SageMaker SDK's local mode: its client creates and deletes a real local endpoint."""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from checkout import ROOT
from containers import docker, readable, refuse, tag
from driftserve.archive.contract import Contract
from driftserve.archive.writing import write_model_tarball
from driftserve.host.ports import free_ports
from endpoint_clients import SUITE_TESTS

pytestmark = pytest.mark.image

TARGETS = ("serving", "serving-mms")
# Fake credentials and no reachable AWS: any request to AWS would fail. The container gets the credentials, too.
NO_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "fake",
    "AWS_SECRET_ACCESS_KEY": "fake",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
STOP_TIMEOUT_SECONDS = 60


class LocalEndpoint:
    """A client of `tests/local_mode_endpoint.py`, which runs the endpoint."""

    def __init__(self, port: int, process: "subprocess.Popen[str]") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = process

    def status(self) -> str:
        return str(self._answer()["status"])

    def invoke(self, body: bytes, content_type: str) -> tuple[int, Any]:
        """Invoke the endpoint with the SDK's runtime client; return status and JSON."""
        request = {"body": base64.b64encode(body).decode(), "content_type": content_type}
        _pipe(self._process.stdin).write(json.dumps(request) + "\n")
        _pipe(self._process.stdin).flush()
        answer = self._answer()
        assert answer["content_type"] == "application/json"
        return answer["status"], json.loads(base64.b64decode(answer["body"]))

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        assert line, f"tests/local_mode_endpoint.py ended with {self._process.wait(STOP_TIMEOUT_SECONDS)}"
        answer: dict[str, Any] = json.loads(line)
        return answer


def _python() -> Path:
    """Return the interpreter with the SageMaker SDK."""
    python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
    if not python.exists():
        refuse(f"{python} is missing: run `make install-pipeline`")
    return python


def _model_data_url(archive: Path, directory: Path) -> str:
    """Write the tarball alone into a directory and return its URL.

    Local mode unpacks it there and mounts the directory as /opt/ml/model, so the image's user must be able to read it.
    For s3:// it would unpack into a directory of mode 0700; then the container must run as the owner of the directory,
    `container_config: {"user": ...}`.
    """
    directory.mkdir()
    write_model_tarball(archive, directory / "model.tar.gz")
    return (readable(directory) / "model.tar.gz").as_uri()


@contextmanager
def _local_endpoint(image: str, model_data_url: str, directory: Path) -> Iterator[LocalEndpoint]:
    """Start an endpoint; at the end, remove everything that local mode leaves."""
    label, networks = f"driftserve.test={uuid.uuid4()}", _networks()
    (port,) = free_ports(1)
    command = [str(_python()), "tests/local_mode_endpoint.py", "--image", image, "--model-data-url", model_data_url]
    options = ["--port", str(port), "--root", str(directory), "--label", label]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=os.environ | NO_ACCOUNT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        endpoint = LocalEndpoint(port, process)
        assert endpoint.status() == "InService"
        yield endpoint
        _end(process)
        assert process.returncode == 0
    except BaseException:
        print((directory / "log").read_text())
        raise
    finally:
        for container in docker("ps", "--all", "--quiet", "--filter", f"label={label}").split():
            docker("rm", "--force", "--volumes", container)  # this also ends docker-compose
        _end(process)
        for network in _networks() - networks:
            docker("network", "rm", network)


def _end(process: "subprocess.Popen[str]") -> None:
    """Close its input, so that it deletes its endpoint; wait for its exit."""
    try:
        _pipe(process.stdin).close()
        process.wait(STOP_TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
        _pipe(process.stdout).close()


def _networks() -> set[str]:
    return set(docker("network", "ls", "--quiet", "--no-trunc", "--filter", "name=^sagemaker-local$").split())


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_serves_as_the_sdks_local_endpoint(
    target: str, archive: Path, contract: Contract, golden: dict[str, bytes], tmp_path: Path
) -> None:
    image, model_data_url = tag(target), _model_data_url(archive, tmp_path / "model")
    with _local_endpoint(image, model_data_url, tmp_path) as endpoint:
        for promised in contract.golden:
            status, body = endpoint.invoke(golden[promised.file], "image/png")
            assert status == 200
            assert body["label"] == promised.label
            assert list(body["probabilities"].values()) == pytest.approx(promised.probabilities, abs=1e-6)

        # The service would raise ModelError with this original status; local mode returns the container's response.
        status, body = endpoint.invoke(b"garbage", "image/jpeg")
        assert (status, body["error"]["type"]) == (400, "UndecodableImage")

        command = [sys.executable, "-m", "pytest", "-q", "--endpoint-url", endpoint.url, "--archive", str(archive)]
        done = subprocess.run([*command, "tests/endpoint"], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert f"{SUITE_TESTS} passed" in done.stdout.splitlines()[-1], done.stdout
