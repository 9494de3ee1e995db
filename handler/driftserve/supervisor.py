"""The parent of the monitor and the model server: starts them, watches them, stops them."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from driftserve.archive import find_archive, read_contract
from driftserve.errors import ServerError
from driftserve.runtime import make_runtime, runtime_root
from driftserve.servers import torchserve
from driftserve.servers.java import find_java
from driftserve.servers.ports import refuse_taken_port
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_RESTART_SECONDS = 5.0  # between two starts of a monitor that keeps ending
_STOP_TIMEOUT_SECONDS = 15.0


def serve(place: Path, port: int, settings: Settings) -> int:
    """Serve the archive at `place` until SIGTERM or SIGINT; the exit status.

    Raises:
        ArchiveError: there is no archive, or it does not keep its contract; nothing was started.
        MonitorError, SettingsError: the runtime directory cannot be used.
        ServerError: the model server cannot be started, or ended by itself.
    """
    archive = find_archive(place).resolve()
    contract = read_contract(archive)
    refuse_taken_port(settings.host, port)
    java = find_java()
    runtime_dir = (settings.runtime_dir or runtime_root() / str(os.getpid())).resolve()
    make_runtime(runtime_dir)
    server_dir = runtime_dir / "torchserve"
    try:
        server_dir.mkdir(exist_ok=True)
        configuration = server_dir / "config.properties"
        torchserve.write_configuration(configuration, contract, archive, port, settings)
        server_command = torchserve.command(java, configuration, archive, server_dir)
        logger.info("serving %s on http://%s:%d/invocations", contract.display_name, settings.host, port)
        return _supervise(server_command, server_dir, settings.model_copy(update={"runtime_dir": runtime_dir}))
    finally:
        shutil.rmtree(server_dir, ignore_errors=True)
        if settings.runtime_dir is None:
            shutil.rmtree(runtime_dir, ignore_errors=True)


def _supervise(server_command: list[str], server_dir: Path, settings: Settings) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    environment = os.environ | settings.to_environment()
    restart_at = 0.0
    monitor = _start([sys.executable, "-m", "driftserve", "monitor"], environment)
    try:
        # The workers' own threads would fight for the cores; TorchServe writes its files to LOG_LOCATION.
        threads = {"OMP_NUM_THREADS": "1", "LOG_LOCATION": str(server_dir), "METRICS_LOCATION": str(server_dir)}
        server = _start(server_command, environment | threads, cwd=server_dir)
        try:
            while not stop.wait(_POLL_SECONDS):
                if server.poll() is not None:
                    raise ServerError(f"the model server ended with {server.returncode}; its log above says why")
                if monitor.poll() is not None and time.monotonic() >= restart_at:
                    logger.error("the monitor ended with %d; it is started again", monitor.returncode)
                    monitor = _start(monitor.args, environment)
                    restart_at = time.monotonic() + _RESTART_SECONDS
            logger.info("stopping")
        finally:
            _stop(server)
    finally:
        _stop(monitor)  # last, so that it takes in what the workers still sent
    return 0


def _start(command: object, environment: dict[str, str], cwd: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, so that Ctrl-C in a terminal reaches the supervisor only."""
    return subprocess.Popen(command, env=environment, cwd=cwd, start_new_session=True)  # type: ignore[call-overload,no-any-return]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process with SIGTERM, and after the timeout with its whole session by SIGKILL."""
    try:
        process.terminate()
        process.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        logger.error("process %d did not stop in %s s: killed", process.pid, _STOP_TIMEOUT_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind in its session
    process.wait()
