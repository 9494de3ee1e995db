"""The supervisor behind `driftserve serve`: verifies the archive, then runs the monitor and the model server."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftserve.archive.contract import contract_from_json
from driftserve.archive.reading import CONTRACT_FILE, directory_digest, find_archive
from driftserve.errors import ArchiveError, MonitorError, ServerError, SettingsError
from driftserve.host.guard import STOP_TIMEOUT_SECONDS, adopt_orphans, end_children
from driftserve.host.ports import check_port_is_free
from driftserve.host.stop import StopFlag
from driftserve.observations.channel import SOCKET_FILE, Sender
from driftserve.observations.recorder import check_record_directory
from driftserve.runtime.activity import Workers
from driftserve.runtime.directory import RuntimeLock, check_apart, make_runtime, own_runtime_dir
from driftserve.runtime.kept_files import KeptFiles
from driftserve.servers import mms, torchserve
from driftserve.servers.failed_models import FailedModelCleaner
from driftserve.servers.own_answers import OwnAnswerReader
from driftserve.servers.probe import GoldenProbe, PingProbe, Probe, ProbeThread
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_PREPARE = {"torchserve": torchserve.prepare, "mms": mms.prepare}

_DRIFTSERVE = [sys.executable, "-m", "driftserve"]
_POLL_SECONDS = 0.1
_UPKEEP_SECONDS = 1.0
_RESTART_SECONDS = 5.0  # least time between two restarts of the monitor
# How long no worker may have been busy before the server is stopped. A request that moves into or out of the server's
# queue keeps no worker busy.
_QUIET_SECONDS = 0.5

# Variables that TorchServe 0.12, MMS 1.1.11 and their workers read. The workers take the last four from torchrun.
_SERVERS_OWN_PREFIXES = ("TS_", "MMS_")
_SERVERS_OWN = frozenset({"MODEL_SERVER_HOME", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"})


@dataclass(frozen=True)
class _Serving:
    """What is served (a text for the log), the server's command line and probe, and how many workers must be alive.

    `digest` is the archive's content digest, under which the monitor counts; None in multi-model mode.
    """

    what: str
    command: list[str]
    probe: Probe
    workers: int
    digest: str | None


def serve(settings: Settings, stop: StopFlag) -> int:
    """Serve the archive from the settings, or in multi-model mode the archives that requests load, until `stop` is set.

    Args:
        settings: the settings; if they have no runtime directory, one is created.
        stop: a flag that a signal may set at any time.

    Returns:
        The exit status.

    Raises:
        ArchiveError: there is no archive, or its verification crashed or took too long.
        MonitorError: another server or monitor uses the runtime directory.
        SettingsError: the runtime or the record directory is not safe, a path is too long, or directories of the
            settings overlap; or the server does not support a setting.
        DataError: the runtime directory has files, and driftserve did not make it.
        ServerError: the model server cannot start, ended by itself, or gives wrong answers.
    """
    adopt_orphans()
    archive = None if settings.multi_model else find_archive(settings.model_dir).resolve()
    _check_directories(settings)
    if settings.record_dir is not None:
        check_record_directory(settings.record_dir)
    check_port_is_free(settings.host, settings.port)
    with _runtime(settings) as lock:
        runtime_dir = lock.directory
        # The workers of a multi-model server run in other directories, so this path must not be relative.
        absolute = {"runtime_dir": runtime_dir, "models_dir": settings.models_dir.absolute()}
        settings = settings.model_copy(update=absolute)
        server_dir = runtime_dir / settings.server
        server_dir.mkdir(mode=0o700)  # the server's sockets are in it, and have the mode of the umask
        if archive is None:
            serving = _many_models(server_dir, settings)
        else:
            model_dir = runtime_dir / "store" / "model"
            if (status := _verify(archive, model_dir, settings, stop)) is not None:
                return status
            serving = _one_model(server_dir, model_dir, settings)
        logger.info("starting %s on http://%s:%d", serving.what, settings.host, settings.port)
        _serve(serving, server_dir, settings, stop, lock)
    return 0


def _check_directories(settings: Settings) -> None:
    """Check that the directories of the settings do not overlap, since files in the runtime directory are deleted."""
    places = {
        "DRIFTSERVE_RUNTIME_DIR": settings.runtime_dir,
        "DRIFTSERVE_RECORD_DIR": settings.record_dir,
        **(
            {"DRIFTSERVE_MODELS_DIR": settings.models_dir}
            if settings.multi_model
            else {"the archive (DRIFTSERVE_MODEL_DIR)": settings.model_dir}
        ),
    }
    check_apart({name: place.resolve() for name, place in places.items() if place is not None})


def _one_model(server_dir: Path, model_dir: Path, settings: Settings) -> _Serving:
    contract = contract_from_json((model_dir / CONTRACT_FILE).read_bytes())
    command = _PREPARE[settings.server](server_dir, model_dir, contract, settings)
    images = {golden.file: (model_dir / golden.file).read_bytes() for golden in contract.golden}
    probe = GoldenProbe(settings.own_address, settings.port, contract, images)
    return _Serving(contract.display_name, command, probe, settings.workers, directory_digest(model_dir, contract))


def _many_models(server_dir: Path, settings: Settings) -> _Serving:
    if settings.server != "torchserve":
        raise SettingsError(
            f"DRIFTSERVE_MULTI_MODEL: expected the server torchserve, got {settings.server}; MMS is not safe in this "
            "mode: it downloads any URL, and an archive can make it write anywhere"
        )
    command = torchserve.prepare_multi_model(server_dir, settings)
    probe = PingProbe(settings.own_address, settings.port)
    return _Serving(f"archives from {settings.models_dir}", command, probe, workers=0, digest=None)


def _serve(serving: _Serving, server_dir: Path, settings: Settings, stop: StopFlag, lock: RuntimeLock) -> None:
    """Run the monitor and the server until `stop` is set and the running requests are answered, or time out."""
    runtime_dir = server_dir.parent
    workers = Workers(runtime_dir)
    watch = ProbeThread(serving.probe, settings, workers, stop)
    upkeep = _Upkeep(lock, workers, () if settings.multi_model else (runtime_dir / "store" / "model", server_dir))
    if settings.multi_model:
        FailedModelCleaner(settings.own_address, settings.port, runtime_dir / "store", stop).start()
    with _Monitor(settings) as monitor, _server(serving, server_dir, settings) as process:
        watch.start()
        while not stop.wait(_POLL_SECONDS):
            if not watch.is_alive() and not stop.is_set():  # the thread also ends when the flag is set
                raise ServerError(watch.problem or "the probe thread ended; its traceback is above")
            _keep(monitor, process)
            upkeep.run(is_ready=watch.is_ready)
        logger.info("stopping after the running requests")
        _drain(monitor, process, workers, settings, serving.workers if watch.is_ready else 0)


@contextlib.contextmanager
def _runtime(settings: Settings) -> Iterator[RuntimeLock]:
    """Lock and provide a runtime directory without the files of an earlier server."""
    runtime_dir = settings.runtime_dir.resolve() if settings.runtime_dir else own_runtime_dir()
    lock = make_runtime(runtime_dir)
    ours = [runtime_dir / name for name in ("store", "models", "workers", "beginning", *_PREPARE)]
    try:
        for directory in ours:
            shutil.rmtree(directory, ignore_errors=True)
        yield lock
    finally:
        end_children()
        for directory in ours if settings.runtime_dir else [runtime_dir]:
            shutil.rmtree(directory, ignore_errors=True)
        lock.close()


def _verify(archive: Path, model_dir: Path, settings: Settings, stop: StopFlag) -> int | None:
    """Verify and unpack the archive in a child process; when it ends, TorchScript's memory is free again.

    Return None if the archive may be served, else the exit status; the child process has printed the reason.
    """
    command = [*_DRIFTSERVE, "verify", str(archive), "--unpack", str(model_dir), "--parent", str(os.getpid())]
    environment = _without_aws(_environment(settings))
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + settings.start_timeout_seconds
    while child.poll() is None:
        if stop.wait(_POLL_SECONDS) or time.monotonic() > deadline:
            child.kill()
            child.wait()
            if stop.is_set():
                return 0
            raise ArchiveError(
                f"{archive}: expected its verification to take at most {settings.start_timeout_seconds:.0f} s, it was "
                "not finished; set DRIFTSERVE_START_TIMEOUT_SECONDS to allow more"
            )
    if child.returncode not in (0, 1):
        raise ArchiveError(f"{archive}: expected its verification to end with status 0 or 1, got {child.returncode}")
    return child.returncode or None


class _Monitor:
    """The monitor process, which is restarted when it ends."""

    def __init__(self, settings: Settings) -> None:
        self._environment = _environment(settings)
        self._restart_at = 0.0

    def __enter__(self) -> "_Monitor":
        self._process = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self._process)

    def keep(self) -> None:
        if self._process.poll() is not None and time.monotonic() >= self._restart_at:
            logger.error("the monitor ended with %d; restarting it", self._process.returncode)
            self._process = self._start()
            self._restart_at = time.monotonic() + _RESTART_SECONDS

    def _start(self) -> "subprocess.Popen[bytes]":
        return _start([*_DRIFTSERVE, "monitor", "--parent", str(os.getpid())], self._environment)


class _Upkeep:
    """Keeps a running server whole: programs that remove old files from temporary directories change nothing.

    Args:
        lock: the server's lock of its runtime directory.
        workers: marks of dead workers are removed.
        directories: directories whose files are kept, from the time when the server is ready.
    """

    def __init__(self, lock: RuntimeLock, workers: Workers, directories: Sequence[Path]) -> None:
        self._lock = lock
        self._workers = workers
        self._directories = directories
        self._kept: KeptFiles | None = None
        self._due = 0.0
        self._is_failing = False

    def run(self, is_ready: bool) -> None:
        """Look after the files, at most once a second."""
        if (now := time.monotonic()) < self._due:
            return
        self._due = now + _UPKEEP_SECONDS
        try:
            self._lock.restore()
            self._workers.living()
            if self._kept is None and is_ready:
                self._kept = KeptFiles(*self._directories)
            if self._kept is not None and (restored := self._kept.restore()):
                logger.warning("somebody removed files of the running server; wrote again %d", len(restored))
        except (OSError, MonitorError) as error:
            if not self._is_failing:
                logger.error("cannot restore files that somebody removed: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False


@contextlib.contextmanager
def _server(serving: _Serving, server_dir: Path, settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the model server's JVM under its guard."""
    ours = {
        "OMP_NUM_THREADS": "1",  # several threads per worker would compete for the cores
        "LOG_LOCATION": str(server_dir),  # TorchServe writes its files there
        "METRICS_LOCATION": str(server_dir),
        "LC_ALL": "C.UTF-8",  # otherwise Java cannot open files whose names are not ASCII in the locale C
    }
    if settings.multi_model:
        path = f"{torchserve.MULTI_MODEL_PROGRAMS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        ours |= {"WORKER_PYTHON": sys.executable, "PATH": path}
    guarded = [sys.executable, "-m", "driftserve.host.guard", str(os.getpid()), *serving.command]
    environment = _without_servers_own(_without_aws(_environment(settings))) | ours
    process = _start(guarded, environment, server_dir, stdout=subprocess.PIPE)
    reader = _own_answer_reader(process, serving, server_dir.parent)
    reader.start()
    try:
        yield process
    finally:
        _stop(process)
        reader.join(STOP_TIMEOUT_SECONDS)  # the monitor, which stops next, counts what is still to be read


def _own_answer_reader(process: "subprocess.Popen[bytes]", serving: _Serving, runtime_dir: Path) -> OwnAnswerReader:
    if process.stdout is None:
        raise AssertionError("the server was started with a pipe")
    if serving.digest is None:
        return OwnAnswerReader(process.stdout, "", None)
    return OwnAnswerReader(process.stdout, serving.what, Sender(runtime_dir / SOCKET_FILE, serving.digest).send)


def _keep(monitor: _Monitor, server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        raise ServerError(f"the model server ended with {server.returncode}; see its log above")
    monitor.keep()


def _drain(
    monitor: _Monitor, server: "subprocess.Popen[bytes]", workers: Workers, settings: Settings, number: int
) -> None:
    """Wait until `number` workers are alive and none of them was busy for a moment, at most until the timeout.

    While a worker is missing, requests may be waiting for it.
    """
    deadline = time.monotonic() + settings.drain_timeout_seconds
    quiet_seconds = _QUIET_SECONDS + (settings.max_batch_delay_ms / 1000 if settings.batch_size > 1 else 0)
    started = time.monotonic()
    while (now := time.monotonic()) < deadline:
        is_quiet = now - max(started, workers.last_activity(now)) >= quiet_seconds
        if is_quiet and workers.living() >= number:
            return
        _keep(monitor, server)
        time.sleep(_POLL_SECONDS)
    logger.warning("requests are still running after %.0f s; stopping without them", settings.drain_timeout_seconds)


def _environment(settings: Settings) -> dict[str, str]:
    # Without this variable, `python -m` would import from the current directory first, whose files are untrusted.
    # Python 3.10 ignores the variable.
    return os.environ | settings.to_environment() | {"PYTHONSAFEPATH": "1"}


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without AWS's, such as credentials. Only the monitor needs them; a graph is foreign code."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _without_servers_own(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that the servers and their workers read instead of our configuration.

    For example, TorchServe reads the file that TS_CONFIG_FILE names, and not the one on its command line.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_SERVERS_OWN_PREFIXES) and name not in _SERVERS_OWN
    }


def _start(
    command: list[str], environment: Mapping[str, str], cwd: Path | None = None, stdout: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process in its own session, so that Ctrl-C in a terminal reaches only the supervisor."""
    return subprocess.Popen(
        command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process with SIGTERM, or kill it if that takes too long; then kill what is left of its process group."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS + 1.0)  # a guard needs this time to stop its own child
    except subprocess.TimeoutExpired:
        logger.error("process %d did not stop; killing it", process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
