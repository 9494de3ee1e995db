"""Real servers for tests: `driftserve serve` with TorchServe or MMS, started as a user starts it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import urllib3

from checkout import ROOT
from driftserve.errors import ServerError
from driftserve.host.ports import check_port_is_free, free_ports
from driftserve.runtime.status import read_status
from driftserve.servers import mms
from processes import running, wait_for
from sample_images import encode

SERVERS = ("torchserve", "mms")
# `make serve` must answer within this time from the start of the process.
START_TIMEOUT_SECONDS = 60
# Variables that the servers and their workers read themselves. A user has them from another server or from torchrun.
VARIABLES_OF_THE_SERVERS = {
    "TS_CONFIG_FILE": "/nowhere/config.properties",
    "TS_MODEL_SERVER_HOME": "/nowhere",
    "MMS_CONFIG_FILE": "/nowhere/config.properties",
    "MODEL_SERVER_HOME": "/nowhere",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
}
TEST_MARK = {"X-Amzn-SageMaker-Custom-Attributes": "driftserve-test=true"}


def python_of(server: str) -> Path:
    """Return the interpreter of the environment in which a server is installed."""
    if server == "torchserve":
        return Path(sys.executable)
    python = ROOT / os.environ.get("VENV_MMS", ".venv-mms") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is missing: run `make install`")
    return python


def free_port(server: str) -> int:
    """Return a free port that the server accepts. MMS refuses the kernel's ephemeral ports."""
    if server != "mms":
        return free_ports(1)[0]
    for port in random.Random(os.getpid() + time.monotonic_ns()).sample(range(20_000, mms.HIGHEST_PORT), 100):
        try:
            check_port_is_free("127.0.0.1", port)
        except ServerError:
            continue
        return port
    raise AssertionError("expected a free port, tried 100")


@dataclass(frozen=True)
class Endpoint:
    """A running server."""

    url: str
    runtime_dir: Path
    process: "subprocess.Popen[bytes]"
    log: Path

    def post(self, body: bytes, content_type: str = "image/png", **headers: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "POST",
            f"{self.url}/invocations",
            body=body,
            headers={"Content-Type": content_type} | headers,
            retries=False,
            timeout=70,
        )

    def status(self) -> dict[str, object]:
        """Return the status of the served model; {} while there is none."""
        return next(iter(read_status(self.runtime_dir)["models"].values()), {})

    def observations(self) -> int:
        """Return the number of observations that the monitor received. Wait until it has not changed for a second."""
        seen, since = None, time.monotonic()
        while time.monotonic() - since < 1.0:
            now = seen_by(self.status())
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.05)
        return seen or 0

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def monitor(self) -> psutil.Process:
        return next(child for child in self.descendants() if "monitor" in child.cmdline())

    def jvm(self) -> psutil.Process:
        return next(child for child in self.descendants() if child.name() == "java")

    def workers(self) -> list[psutil.Process]:
        """Return the live workers that loaded the model. Each leaves a mark file in the runtime directory."""
        alive = {child.pid: child for child in self.descendants()}
        marks = [int(path.name) for path in (self.runtime_dir / "workers").glob("*")]
        return [alive[pid] for pid in marks if pid in alive]


@contextmanager
def started(
    archive: Path, runtime_dir: Path, log: Path, server: str = "torchserve", **settings: str
) -> Iterator[Endpoint]:
    """Start a server; yield it when it has answered an image and all its workers have loaded the model."""
    port = free_port(server)
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_WORKERS": "2"} | settings
    arguments = ("driftserve", "serve", str(archive), "--port", str(port), "--server", server)
    with running(*arguments, environment=environment, log=log, python=python_of(server)) as process:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", runtime_dir, process, log)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return endpoint.post(encode(np.zeros((40, 40, 3), np.uint8)), **TEST_MARK).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        wait_for(answers, START_TIMEOUT_SECONDS)
        wait_for(lambda: len(endpoint.workers()) == int(environment["DRIFTSERVE_WORKERS"]), START_TIMEOUT_SECONDS)
        # Also wait for the supervisor's golden image: until then the start timeout applies to a broken server.
        wait_for(lambda: "ready: a golden image" in log.read_text(), START_TIMEOUT_SECONDS)
        try:
            yield endpoint
        finally:
            if process.poll() is None:
                for child in endpoint.descendants():  # a process that a test stopped cannot exit
                    child.send_signal(signal.SIGCONT)


def seen_by(status: Mapping[str, object]) -> int:
    """Return the number of predictions that a monitor received: those in windows, and those of repeated images."""
    excluded = status.get("excluded", {})
    duplicates = excluded.get("duplicate", 0) if isinstance(excluded, dict) else 0
    return int(str(status.get("observations", 0))) + int(duplicates)
