"""Probes the running server: sends golden images and compares the answers with the contract.

`/ping` is not enough: TorchServe answers it with 200 while its workers crash in a loop, and Multi Model Server (MMS)
even if it is unhealthy. But a multi-model server is probed by `/ping`, because it starts without a model: it can only
show that its JVM answers.
"""

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from driftserve.archive.contract import Contract
from driftserve.archive.golden import golden_mismatch
from driftserve.host.stop import StopFlag
from driftserve.observations.observation import TEST_ATTRIBUTE
from driftserve.runtime.activity import Workers
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_HEADERS = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": TEST_ATTRIBUTE}
_STATUSES_OF_THE_SERVER = (503, 507)  # the queue or the memory is full, so no worker got the request
_RETRY_SECONDS = 0.2
_MOST_FAILURES = 3


@dataclass(frozen=True)
class Problem:
    """Why a probe failed; `is_answer` says whether a worker gave an answer."""

    message: str
    is_answer: bool

    def __str__(self) -> str:
        return self.message


class Probe(Protocol):
    """Sends requests to the server and checks the answers."""

    @property
    def question(self) -> str:
        """What the probe sends, for log lines."""

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:
        """Send the request with this number; return None if the answer is correct, else the problem."""


@dataclass(frozen=True)
class GoldenProbe:
    """Sends the golden images of an archive to the server in turn."""

    host: str
    port: int
    contract: Contract
    images: Mapping[str, bytes]  # by file name; in memory, because a file that is missing later is no wrong answer
    question: str = "a golden image"

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:
        """Send the golden image with this number; return None if the answer is correct, else the problem."""
        golden = self.contract.golden[number % len(self.contract.golden)]
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        body = b""
        try:
            connection.request("POST", "/invocations", self.images[golden.file], _HEADERS)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                message = f"{golden.file}: expected status 200, got {response.status} {body[:200]!r}"
                return Problem(message, is_answer=response.status not in _STATUSES_OF_THE_SERVER)
            mismatch = golden_mismatch(golden, self.contract.labels, json.loads(body)["probabilities"])
            return None if mismatch is None else Problem(mismatch, is_answer=True)
        except (OSError, http.client.HTTPException) as error:
            message = f"{golden.file}: expected an answer, got {type(error).__name__}: {error}"
            return Problem(message, is_answer=False)
        except (ValueError, TypeError, LookupError):
            return Problem(f"{golden.file}: expected a prediction, got {body[:200]!r}", is_answer=True)
        finally:
            connection.close()


@dataclass(frozen=True)
class PingProbe:
    """Sends `/ping` to the server, to see whether it answers at all."""

    host: str
    port: int
    question: str = "/ping"

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:  # noqa: ARG002 - there is one question
        """Return None for any answer, else the problem. Status 500 counts as an answer: it is about only one model."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        try:
            connection.request("GET", "/ping")
            connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            return Problem(f"/ping: expected an answer, got {type(error).__name__}: {error}", is_answer=False)
        finally:
            connection.close()
        return None


def ask_until_right(probe: Probe, timeout_seconds: float, give_up: Callable[[], bool]) -> Problem | None:
    """Probe until an answer is correct, then return None; at the timeout or on `give_up`, return the last problem."""
    deadline = time.monotonic() + timeout_seconds
    for number in count():
        problem = probe.ask(number, max(deadline - time.monotonic(), _RETRY_SECONDS))
        if problem is None or give_up() or time.monotonic() + _RETRY_SECONDS > deadline:
            break
        time.sleep(_RETRY_SECONDS)
    return problem


class ProbeThread(threading.Thread):
    """Probes the server until the stop flag is set, or until probes fail too often; then the thread sets `problem`."""

    def __init__(self, probe: Probe, settings: Settings, workers: Workers, stop: StopFlag) -> None:
        super().__init__(name="probe", daemon=True)
        self.problem: str | None = None
        self.is_ready = False
        self._probe = probe
        self._settings = settings
        self._workers = workers
        self._stop_flag = stop

    def run(self) -> None:
        """Wait for the first correct answer, then probe at every interval."""
        started = time.monotonic()
        if problem := self._ask(self._settings.start_timeout_seconds):
            self.problem = f"no correct answer in {self._settings.start_timeout_seconds:.0f} s: {problem}"
            return
        self.is_ready = True
        logger.info("ready: %s was answered correctly after %.1f s", self._probe.question, time.monotonic() - started)
        failures = 0
        interval = self._settings.probe_interval_seconds
        while not self._stop_flag.wait(min(interval, 1.0) if failures else interval):
            problem = self._probe_once()
            failures = failures + 1 if problem else 0
            if problem:
                logger.warning("probe %d of %d failed: %s", failures, _MOST_FAILURES, problem)
            if failures == _MOST_FAILURES:
                self.problem = f"{failures} probes in a row failed: {problem}"
                return

    def _probe_once(self) -> Problem | None:
        """Return the problem, or None; also None if the server is only overloaded: its workers still finish batches."""
        began_at = time.monotonic()
        problem = self._ask(self._settings.probe_timeout_seconds)
        if problem and not problem.is_answer and self._workers.last_finished() > began_at:
            logger.warning("overloaded: the workers answer other requests, but not the probe: %s", problem)
            return None
        return problem

    def _ask(self, timeout_seconds: float) -> Problem | None:
        return ask_until_right(self._probe, timeout_seconds, self._stop_flag.is_set)
