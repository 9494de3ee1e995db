"""Run the Docker commands of the README, with another port and a tiny archive."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import urllib3

from checkout import ROOT
from containers import DOCKER, IMAGE, docker, readable, tag
from driftserve.host.ports import free_ports
from processes import wait_for
from sample_images import encode, scene

pytestmark = pytest.mark.image

README = (ROOT / "README.md").read_text()


def _command(start: str) -> str:
    (command,) = re.findall(rf"^{start} .*$", README, re.MULTILINE)
    return str(command)


@pytest.mark.parametrize("start", ["make run", "docker run"])
def test_the_archive_is_served_in_docker_until_ctrl_c(
    start: str, archive: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    tag("serving")
    (port,) = free_ports(1)
    place = readable(tmp_path / "model", archive)
    image = tmp_path / "image.jpg"
    image.write_bytes(encode(scene(generator), "JPEG"))
    command = _command(start).replace("8080", str(port), 1).replace("$PWD/build/demo/model", str(place))
    command = command.replace("docker", DOCKER, 1).replace("driftserve:", f"{IMAGE}:")
    if start == "make run":
        command += f" ARCHIVE={shlex.quote(str(place))}"
    curl = _command("curl").replace("8080", str(port)).replace("build/demo/data/test/sea/0000.jpg", str(image))
    log = (tmp_path / "log").open("wb")
    before = set(docker("ps", "--quiet", "--no-trunc").split())
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:

        def answer() -> dict[str, object] | None:
            assert process.poll() is None, (tmp_path / "log").read_text()
            done = subprocess.run(["sh", "-c", f"{curl} --silent"], capture_output=True)
            return json.loads(done.stdout) if b'"label"' in done.stdout else None

        assert wait_for(answer)["model"] == {"name": "tiny", "version": "7"}
        os.killpg(process.pid, signal.SIGINT)
        process.wait(40)
        with pytest.raises(urllib3.exceptions.HTTPError):
            urllib3.request("GET", f"http://127.0.0.1:{port}/ping", retries=False)
    finally:
        for left in set(docker("ps", "--quiet", "--no-trunc").split()) - before:
            docker("rm", "--force", left)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()
