"""Commands that the demo runs as child processes, with their output in a log file."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from driftserve.errors import DriftserveError

_POLL_SECONDS = 0.1


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, new_session: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a command that writes its output to a log file."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=new_session,
        )


def run(command: Sequence[str], log: Path, on_poll: Callable[[], None]) -> None:
    """Run a command until it ends.

    Args:
        command: the program and its arguments.
        log: the file for its output.
        on_poll: called several times a second while the command runs.

    Raises:
        DriftserveError: the exit status was not 0.
    """
    # The guard stops the command when this process ends, even if it ends while the command starts.
    guard = [sys.executable, "-m", "driftserve.host.guard", str(os.getpid())]
    process = start([*guard, *command], log, new_session=True)  # Ctrl-C reaches only this process
    try:
        while process.poll() is None:
            on_poll()
            time.sleep(_POLL_SECONDS)
        on_poll()
    finally:
        process.terminate()
        process.wait()
    if process.returncode != 0:
        raise DriftserveError(f"exit status {process.returncode}")


def last_line(log: Path) -> str:
    """Return the last line of a log that can be a reason for a failure; "" if there is none.

    Skip blank lines and log records of level INFO. A progress bar overwrites its line with carriage returns, so each
    carriage return counts as the end of a line.
    """
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]+", text)]
    return next((line for line in reversed(lines) if line and '"level": "INFO"' not in line), "")
