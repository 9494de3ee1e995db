"""Start, await and end real processes in tests."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import psutil

T = TypeVar("T")


class Process(Protocol):
    """A process that the caller can wait for."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def wait_for(what: Callable[[], T | None], timeout_seconds: float = 60.0) -> T:
    """Call `what` until its result is true; return that result; fail the test after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if result := what():
            return result
        time.sleep(0.05)
    raise AssertionError(f"timed out after {timeout_seconds} s")


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """Limit the size of files that this process can write, to imitate a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def running(
    *arguments: str,
    environment: dict[str, str],
    log: Path,
    python: str | Path = sys.executable,
    stdout: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m ...` with its output in one or two files; end it and its children after the block."""
    with log.open("wb") as errors, (stdout or log).open("ab") as output:
        process = subprocess.Popen(
            [str(python), "-m", *arguments],
            env=os.environ | environment,
            stdout=output if stdout else errors,
            stderr=errors,
        )
    with ended(process):
        yield process


@contextmanager
def ended(process: Process) -> Iterator[None]:
    """Terminate a process and kill its remaining children at the end of the block."""
    children = []
    try:
        yield
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()
        for child in children:
            if child.is_running():
                child.kill()
