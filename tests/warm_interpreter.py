"""A Python interpreter with torch and the training packages already imported; tests run programs in its forks.

Each program is a real process with its own exit status, output and signals, but it saves 5 CPU seconds of imports.
`warm_interpreter` starts the interpreter as `python warm_interpreter.py DESCRIPTOR`.
"""

import atexit
import gc
import json
import os
import random
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from checkout import TESTS
from processes import ended
from warm_programs import Fork, start

_PRELOADED = (
    "driftserve_training.commands.preprocess",  # must come first: its package makes torchvision importable
    "driftserve_training.archiving.export",
    "driftserve_training.card.files",
    "driftserve_training.evaluation.assessment",
    "driftserve_training.explanation.explaining",
    "driftserve_training.fitting.training",
    "driftserve_training.job.job",
    "driftserve_training.preparation.preparation",
    "driftserve_training.search.tuning",
    "driftserve_training.sources.source",
    *("timm", "torch.utils.tensorboard", "matplotlib.backends.backend_svg", "tensorboard", "boto3"),
)
_MOST_BYTES = 1 << 17  # in a request
_MANY = 64  # waiting requests
_PYTHON = """#!{python} -IS
import sys
sys.path.insert(0, {tests!r})
from warm_programs import main
sys.exit(main({address!r}, __file__, sys.argv[1:]))
"""


class WarmInterpreter:
    """Starts `python -m` programs in forks.

    Attributes:
        python: An executable that does the same, for programs that start Python children themselves.
    """

    def __init__(self, address: str, python: Path) -> None:
        self._address = address
        self.python = python

    def run(
        self, *arguments: str, environment: Mapping[str, str], timeout_seconds: float, executable: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; return its status and output."""
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            process = self._start(arguments, environment, stdout.fileno(), stderr.fileno(), executable)
            with ended(process):
                status = process.wait(timeout_seconds)
            texts = []
            for file in (stdout, stderr):
                file.seek(0)
                texts.append(file.read().decode().replace("\r", "\n"))  # from progress bars; `subprocess` does the same
        return subprocess.CompletedProcess(arguments, status, *texts)

    @contextmanager
    def running(self, *arguments: str, environment: Mapping[str, str], log: Path) -> Iterator[Fork]:
        """Run a program with its output in a file; end it and its children after the block."""
        with log.open("wb") as output:
            process = self._start(arguments, environment, output.fileno(), output.fileno())
        with ended(process):
            yield process

    def _start(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        executable: Path | None = None,
    ) -> Fork:
        whole = dict(os.environ) | dict(environment)
        return start(self._address, arguments, whole, stdout, stderr, str(executable) if executable else None)


@contextmanager
def warm_interpreter() -> Iterator[WarmInterpreter]:
    """Start an interpreter; at the end of the block, wait until all its programs have ended."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        address, python = str(Path(folder, "socket")), Path(folder, "python")
        python.write_text(_PYTHON.format(python=sys.executable, tests=str(TESTS), address=address))
        python.chmod(0o755)
        listener.bind(address)
        listener.listen(_MANY)
        command = [sys.executable, __file__, str(listener.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()])
        listener.close()
        yield WarmInterpreter(address, python)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(address)  # an empty request ends the interpreter
        process.wait()


def _serve(listener: socket.socket) -> None:
    """Fork for each request and run its program in the fork; stop after an empty request."""
    running: dict[int, tuple[int, socket.socket]] = {}  # process id and client connection, by pidfd
    is_open = True
    while is_open or running:
        ready, _, _ = select.select([listener.fileno(), *running], [], [])
        for descriptor in ready:
            if descriptor in running:
                pid, connection = running.pop(descriptor)
                os.close(descriptor)
                _tell(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                connection.close()
                continue
            connection, _ = listener.accept()
            request, outputs, _, _ = socket.recv_fds(connection, _MOST_BYTES, 2)
            if not request:
                is_open = False
                continue
            pid = os.fork()
            if pid == 0:
                for theirs in (listener, connection, *(asked for _, asked in running.values())):
                    theirs.close()
                for process in running:
                    os.close(process)
                _become(json.loads(request), *outputs)
            for output in outputs:
                os.close(output)
            _tell(connection, pid)
            running[os.pidfd_open(pid)] = pid, connection


def _tell(connection: socket.socket, number: int) -> None:
    try:
        connection.send(str(number).encode())
    except OSError:  # the client has gone
        return


def _become(request: dict[str, Any], stdout: int, stderr: int) -> NoReturn:
    """Turn this fork into the requested program."""
    import numpy as np

    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    sys.executable = request["executable"] or sys.executable
    random.seed()
    np.random.seed()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        _end(0)
    except SystemExit as ending:
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
        _end(ending.code if isinstance(ending.code, int) else int(ending.code is not None))
    except BaseException:
        traceback.print_exc()
        _end(1)


def _end(status: int) -> NoReturn:
    """Exit as the interpreter does, but do not clear the imported modules: that would copy their shared pages."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for preloaded in _PRELOADED:
        import_module(preloaded)
    gc.freeze()  # keep the imported objects in pages that all forks share
    _serve(socket.socket(fileno=int(sys.argv[1])))
