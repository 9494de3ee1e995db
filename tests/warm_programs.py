"""Programs that `warm_interpreter` runs in forks of itself, as whoever asks for one sees them.

It imports little: as the program below it also stands for `python`, so that a program starts warm children.
"""

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Fork:
    """A program that runs, with as much of `subprocess.Popen` as tests need."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, to a process that runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], timeout)[0]:
            self.returncode = int(self._connection.recv(32))
            self._connection.close()
        return self.returncode


def start(
    address: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    executable: str | None = None,
) -> Fork:
    """`python -m ...` in a fork of the interpreter at an address.

    Args:
        address: of its socket.
        arguments: a module and its arguments.
        environment: all of it.
        stdout: a descriptor; the fork gets a copy.
        stderr: likewise.
        executable: what the program takes for its `sys.executable`; None: the interpreter's own.
    """
    request = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(request | {"executable": executable}).encode()], [stdout, stderr])
    return Fork(connection)


def main(address: str, executable: str, arguments: Sequence[str]) -> int:
    """Do as `python -m ...` would; the exit status."""
    option, *program = arguments
    if option != "-m":
        raise SystemExit(f"expected -m MODULE, got {option}")
    fork = start(address, program, os.environ, 1, 2, executable)
    signal.signal(signal.SIGTERM, lambda *_: fork.terminate())
    status = fork.wait()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status
