"""`python -m driftserve.host.guard PARENT COMMAND...`: runs a command that outlives neither its parent nor its end.

A server's JVM starts processes of its own, and MMS leaves one of them behind even when it is stopped in an orderly
way. The command gets a session of its own: when it has ended, whatever is left in its process group is killed. When
the parent dies, by `kill -9` too, the command is stopped.
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
_PR_SET_CHILD_SUBREAPER = 36  # processes below this one that lose their parent become its children


def end_with_parent(parent: int) -> None:
    """Have this process get a SIGTERM at the death of its parent, whose process id is given."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)


def adopt_orphans() -> None:
    """Have this process be the parent of whatever below it loses its own: one that nobody knows cannot be ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill all children of this process, adopted ones too, until there are none."""
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _children() -> list[int]:
    children: list[int] = []
    for task in Path("/proc", str(os.getpid()), "task").glob("*/children"):  # none where the kernel does not tell
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            children += map(int, task.read_text().split())
    return children


def guard(parent: int, command: Sequence[str]) -> int:
    """Run the command until it ends, or is told to by SIGTERM; its exit status, as `subprocess` gives it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they are waited for: no handler, no race
    end_with_parent(parent)
    process_id = os.getpid()

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        end_with_parent(process_id)

    # This process has one thread, where preexec_fn is safe.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=begin)
    try:
        _wait(child, command[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def _wait(child: "subprocess.Popen[bytes]", command: str) -> None:
    """Return when the child has ended, or has been given its time to after a SIGTERM."""
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
    sys.exit(status if status >= 0 else 128 - status)  # as a shell says it
