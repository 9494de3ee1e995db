"""Real processes for tests: started, waited for, and ended by their id."""

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
    """One that this process can wait for."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def wait_for(what: Callable[[], T | None], timeout_seconds: float = 60.0) -> T:
    """The first result of `what` that is true; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if result := what():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_seconds} s in vain")


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie, which waits for its parent to look, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """A time in which this process can write no larger file, as on a disk that is full."""
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
    """`python -m ...` as a process, its output in a file, or two; terminated at the end, with all that it started."""
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
    """A time after which a process is terminated, with all that it started."""
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
