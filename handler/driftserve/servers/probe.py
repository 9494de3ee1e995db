"""Golden images sent to the running server: does it answer them as the archive says?

Neither server's /ping tells: TorchServe's says 200 through a crash loop of its workers, MMS's even if unhealthy. It
tells of a multi-model server all there is to know before a model is loaded: that its JVM answers.
"""

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from driftserve.archive.contract import Contract
from driftserve.archive.golden import golden_mismatch
from driftserve.host.stop import StopFlag
from driftserve.observations.observation import TEST_ATTRIBUTE
from driftserve.runtime.activity import last_finished
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_HEADERS = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": TEST_ATTRIBUTE}
_STATUSES_OF_THE_SERVER = (503, 507)  # the queue or the memory is full: no worker was asked
_RETRY_SECONDS = 0.2
_MOST_FAILURES = 3


@dataclass(frozen=True)
class Problem:
    """What is wrong with the answer to a golden image; `is_answer` says that there was one, from a worker."""

    message: str
    is_answer: bool

    def __str__(self) -> str:
        return self.message


class Probe(Protocol):
    """A question to the server, of which each number is another form."""

    @property
    def question(self) -> str:
        """What is asked, in words."""

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:
        """What is wrong with the answer, or None when it is right."""


@dataclass(frozen=True)
class GoldenProbe:
    """Asks the server at an address with the golden images of an unpacked archive, one after the other."""

    host: str
    port: int
    contract: Contract
    model_dir: Path
    question: str = "a golden image"

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:
        """What is wrong with the answer to the golden image of that number, or None when it is right."""
        golden = self.contract.golden[number % len(self.contract.golden)]
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        body = b""
        try:
            connection.request("POST", "/invocations", (self.model_dir / golden.file).read_bytes(), _HEADERS)
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
    """Asks the server at an address for a sign of life."""

    host: str
    port: int
    question: str = "/ping"

    def ask(self, number: int, timeout_seconds: float) -> Problem | None:  # noqa: ARG002 - there is one question
        """What is wrong, or None when there is any answer: a status of 500 tells of one model's workers."""
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
    """None as soon as an answer is right, else what was wrong with the last one in time."""
    deadline = time.monotonic() + timeout_seconds
    for number in count():
        problem = probe.ask(number, max(deadline - time.monotonic(), _RETRY_SECONDS))
        if problem is None or give_up() or time.monotonic() + _RETRY_SECONDS > deadline:
            break
        time.sleep(_RETRY_SECONDS)
    return problem


class ProbeThread(threading.Thread):
    """Probes the server until it stops or is given up; then `problem` says why."""

    def __init__(self, probe: Probe, settings: Settings, runtime_dir: Path, stop: StopFlag) -> None:
        super().__init__(name="probe", daemon=True)
        self.problem: str | None = None
        self.is_ready = False
        self._probe = probe
        self._settings = settings
        self._runtime_dir = runtime_dir
        self._stop_flag = stop

    def run(self) -> None:
        """Wait for the first right answer, then look again at every interval."""
        started = time.monotonic()
        if problem := self._ask(self._settings.start_timeout_seconds):
            self.problem = f"no right answer in {self._settings.start_timeout_seconds:.0f} s: {problem}"
            return
        self.is_ready = True
        logger.info("ready: %s was answered rightly after %.1f s", self._probe.question, time.monotonic() - started)
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
        """What is wrong; a server that is merely overloaded, whose workers finish batches meanwhile, is well."""
        began_at = time.time()
        problem = self._ask(self._settings.probe_timeout_seconds)
        if problem and not problem.is_answer and last_finished(self._runtime_dir) > began_at:
            logger.warning("overloaded: workers answer others, but not the probe: %s", problem)
            return None
        return problem

    def _ask(self, timeout_seconds: float) -> Problem | None:
        return ask_until_right(self._probe, timeout_seconds, self._stop_flag.is_set)
