"""The demo's server: `driftserve serve`, started as a user starts it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftserve.errors import ServerError
from driftserve.runtime.directory import runtime_root
from driftserve.runtime.status import read_status
from driftserve_demo.child import start
from driftserve_demo.client import Client, Picture

_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 40.0
_QUIET_SECONDS = 3.0  # if the status stays the same for this long, no more observations arrive


@dataclass(frozen=True)
class Server:
    """The address and the runtime directory of a running server."""

    url: str
    runtime_dir: Path

    def status(self) -> dict[str, Any]:
        """Return the status of the served model, as in `driftserve status --json`; {} before the monitor knows it."""
        models = read_status(self.runtime_dir)["models"]
        return next(iter(models.values()), {})

    def wait_for_observations(self, number: int) -> dict[str, Any]:
        """Wait until the monitor has that many observations, or gets no new ones for 3 s; return the status."""
        status, since = self.status(), time.monotonic()
        while status.get("observations", 0) < number and time.monotonic() - since < _QUIET_SECONDS:
            time.sleep(0.1)
            if (now := self.status()) != status:
                status, since = now, time.monotonic()
        return status


@contextlib.contextmanager
def running_server(
    archive: Path, port: int, environment: dict[str, str], probe: Picture, log: Path
) -> Iterator[Server]:
    """Serve an archive on a loopback port; stop the server and its child processes at the end.

    Args:
        archive: a `.mar` file, or the directory that holds it.
        port: the port to listen on.
        environment: the environment variables of the server, including its settings.
        probe: an image that is sent as a test until the server answers it.
        log: the file for the server's output.

    Raises:
        ServerError: the server ended, or did not answer in time.
    """
    command = [sys.executable, "-m", "driftserve", "serve", str(archive), "--port", str(port)]
    process = start(command, log, environment)
    try:
        server = Server(f"http://127.0.0.1:{port}", runtime_root() / str(process.pid))
        _wait_until_ready(process, Client(server.url, concurrency=1), probe)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", client: Client, probe: Picture) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"exit status {process.returncode}")
        with contextlib.suppress(ServerError):  # the server does not listen yet
            if client.send(probe, is_test=True).status == 200:
                return
        time.sleep(0.2)
    raise ServerError(f"expected an answer within {_START_TIMEOUT_SECONDS:.0f} s, got none")
