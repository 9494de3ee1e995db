"""The client of `warm_interpreter`: starts programs in its forks and waits for them.

Its `main` also replaces `python`, so that a program's own children run in forks, too. It imports little, to start fast.
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
    """A program in a fork, with the part of `subprocess.Popen` that tests need."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait; return the exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: The program still runs.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal if the process still runs."""
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
    """Run `python -m ...` in a fork of a warm interpreter.

    Args:
        address: Socket of the interpreter.
        arguments: A module and its arguments.
        environment: The whole environment of the program.
        stdout: A file descriptor; the fork gets a copy.
        stderr: Also a file descriptor.
        executable: The program's `sys.executable`; None for the interpreter's own.
    """
    request = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(request | {"executable": executable}).encode()], [stdout, stderr])
    return Fork(connection)


def main(address: str, executable: str, arguments: Sequence[str]) -> int:
    """Run `-m MODULE ...` like `python` does; return the exit status."""
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
