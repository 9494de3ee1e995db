"""Runs a command, and ends its process group when the command ends, at SIGTERM, or when the guard's parent ends.

    python -m driftserve.host.guard PARENT COMMAND...

PARENT is the process id of the guard's parent. A server's JVM starts other processes, and Multi Model Server (MMS)
leaves one of them behind even after an orderly stop. So the command gets its own session and process group. At SIGTERM,
or when the parent ends, even by `kill -9`, the guard sends the command a SIGTERM. When the command has ended, or after
5 s, the guard kills all processes that remain in the group. A process that starts its own session survives.

The supervisor uses `adopt_orphans` and `end_children` against such survivors.
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
    """Make the kernel send this process a SIGTERM when its parent dies; exit with 1 if the parent is dead already.

    `parent` is the parent's process id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before the call
        sys.exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of all descendants whose own parent dies, so that `end_children` can find them."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill all children of this process, including adopted ones, until there are none.

    This does nothing on kernels without `/proc/*/task/*/children`.
    """
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _children() -> list[int]:
    children: list[int] = []
    for task in Path("/proc", str(os.getpid()), "task").glob("*/children"):  # empty on kernels without these files
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            children += map(int, task.read_text().split())
    return children


def guard(parent: int, command: Sequence[str]) -> int:
    """Run the command until it ends, or until SIGTERM; return its exit status as `subprocess` does."""
    # `_wait` waits for the blocked signals; a signal handler would have race conditions.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
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
    """Wait until the child has ended, or until 5 s after a SIGTERM; pass each SIGTERM on to the child."""
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
