"""Runs a command, and ends all its processes when the command or the parent process ends.

    python -m driftserve.host.guard PARENT COMMAND...

A server's JVM starts other processes, and MMS leaves one behind even after an orderly stop. So the command gets its own
session. When the command has ended, the guard kills all that remain in its process group. When the parent dies, even by
`kill -9`, the guard stops the command.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STOP_TIMEOUT_SECONDS = 5.0

_SIGNALS = {signal.SIGTERM, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the kernel sends at the death of the parent
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): descendants that lose their parent become children of this process


def end_with_parent(parent: int) -> None:
    """Make the kernel send this process a SIGTERM when its parent dies; `parent` is the parent's process id."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before the call
        sys.exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of descendants that lose theirs, so that it can find and end them."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill all children of this process, including adopted ones, until there are none."""
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _children() -> list[int]:
    children: list[int] = []
    for task in Path("/proc", str(os.getpid()), "task").glob("*/children"):  # some kernels do not have these files
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            children += map(int, task.read_text().split())
    return children


def guard(parent: int, command: Sequence[str]) -> int:
    """Run the command until it ends, or until SIGTERM; return its exit status as `subprocess` does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # `_wait` waits for them; a handler would have race conditions
    end_with_parent(parent)
    process_id = os.getpid()

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        end_with_parent(process_id)

    # preexec_fn is safe here, since this process has only one thread.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=begin)
    try:
        _wait(child, command[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def _wait(child: "subprocess.Popen[bytes]", command: str) -> None:
    """Return when the child has ended, or when its time to stop after a SIGTERM has passed."""
    deadline = None
    while child.poll() is None:
        seconds = 3600.0 if deadline is None else deadline - time.monotonic()
        if seconds <= 0:
            sys.stderr.write(f"driftserve: {command!r} did not stop in {STOP_TIMEOUT_SECONDS} s: killed\n")
            return
        received = signal.sigtimedwait(_SIGNALS, seconds)
        if received is not None and received.si_signo == signal.SIGTERM:
            child.terminate()
            deadline = deadline or time.monotonic() + STOP_TIMEOUT_SECONDS


if __name__ == "__main__":
    status = guard(int(sys.argv[1]), sys.argv[2:])
    sys.exit(status if status >= 0 else 128 - status)  # 128 + the signal's number, as in a shell
