"""Run commands of other packages as processes, show their stderr live, and pass on their reason of failure."""

import signal
import subprocess
import sys
import tempfile

from driftserve_pipeline.errors import PipelineError

_TAIL_BYTES = 64 * 1024  # the last part of stderr, in which the reason is searched
_PATIENCE_SECONDS = 30  # time to end after SIGTERM; SageMaker kills the job's processes after 120 s


def run_command(module: str, *arguments: str) -> str:
    """Run `python -m MODULE ARGUMENTS` and return its stdout. Its stderr appears live.

    The process always ends with this function, even after an exception.

    Raises:
        PipelineError: the process failed. The message is the reason that it gave, if it gave one.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=output, stderr=subprocess.PIPE, bufsize=0
        )
        try:
            tail = _show(process)
            status = process.wait()
        finally:
            _end(process)
        if status != 0:
            raise PipelineError(_reason(module, arguments, status, tail))
        output.seek(0)
        return output.read().decode()


def _show(process: subprocess.Popen[bytes]) -> str:
    """Copy stderr of the process to our stderr until it ends, and return the last part of it."""
    tail = b""
    assert process.stderr is not None  # noqa: S101  # it is a pipe
    while block := process.stderr.read(_TAIL_BYTES):
        sys.stderr.buffer.write(block)
        sys.stderr.buffer.flush()
        tail = (tail + block)[-_TAIL_BYTES:]
    return tail.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _reason(module: str, arguments: tuple[str, ...], status: int, tail: str) -> str:
    if status < 0:
        by = signal.Signals(-status).name
        return f"{module} {arguments[0]}: ended by {by}; if memory was short, choose a larger instance"
    _, found, reason = tail.rpartition(f"{module}: ")  # a progress bar may precede it on the line
    if found and (lines := reason.splitlines()):
        return lines[0]
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "nothing on stderr")
    return f"{module} {arguments[0]}: ended with exit status {status}: {last.strip()}"
