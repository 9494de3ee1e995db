"""Record a command in a terminal, what it writes and when, as an asciicast file.

The format is version 2, https://docs.asciinema.org/manual/asciicast/v2/. asciinema can play such files.
"""

import codecs
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from driftserve.errors import DriftserveError

COLUMNS, ROWS = 100, 30  # size of the terminal
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Output:
    """Text that was written to the terminal, and when, in seconds since the start."""

    seconds: float
    text: str


def record(command: Sequence[str], environment: Mapping[str, str], is_shown: bool = True) -> list[Output]:
    """Run a command in its own terminal until it ends; return what it wrote. If `is_shown`, also write it to stdout.

    Raises:
        DriftserveError: the command failed.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    outputs = []
    try:
        while chunk := _read(ours):
            outputs.append(Output(time.monotonic() - started, decoder.decode(chunk)))
            if is_shown:
                sys.stdout.write(outputs[-1].text)
                sys.stdout.flush()
    finally:
        os.close(ours)
        status = process.wait()
    if status != 0:
        raise DriftserveError(
            f"`{' '.join(command)}` ended with exit status {status}; the reason is in the output above"
        )
    return outputs


def write_cast(outputs: Sequence[Output], file: Path) -> None:
    """Write a recording as an asciicast file."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS}
    lines = [json.dumps(header), *(json.dumps([round(one.seconds, 3), "o", one.text]) for one in outputs)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def read_cast(file: Path) -> list[Output]:
    """Return the recording in an asciicast file."""
    events = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    return [Output(seconds, text) for seconds, kind, text in events if kind == "o"]


def _read(terminal: int) -> bytes:
    """Return the next bytes from the terminal; no bytes when the command has ended."""
    try:
        return os.read(terminal, _CHUNK_BYTES)
    except OSError:  # Linux reports EIO when the command's side is closed
        return b""
