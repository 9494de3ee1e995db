"""Counts the failed requests that a model server answered itself, so that no worker saw them.

Examples are 503 from a full queue and 507 for a dead worker. The workers cannot observe these answers. So log4j writes
a line about each failed request to the JVM's stdout (`*_log4j2.xml`), which this module reads in the supervisor:

    answer <tab> THREAD <tab> STATUS    a request was answered with STATUS, 400 or more
    answer <tab> THREAD <tab> own       the last answer of THREAD did not come from the handler
    error <tab> THREAD <tab> EXCEPTION  the server failed on a request; after an OutOfMemoryError it has answered 507

A thread whose name begins with `W-` talks to one worker and passes its answers on. All other threads answer only
themselves. A body over the server's own limit is refused before the server counts anything.
"""

import logging
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import IO

from driftserve.observations.observation import Observation
from driftserve.text import one_line

logger = logging.getLogger(__name__)

Observe = Callable[[tuple[Observation, ...]], None]

_REPORT_SECONDS = 1.0  # at most one log line per status in this time
# Netty has its own subclass. For all other exceptions, the server also writes the line about the answer.
_NO_MEMORY = ("java.lang.OutOfMemoryError", "io.netty.util.internal.OutOfDirectMemoryError")
_BLOCK_BYTES = 1 << 16
_LONGEST_LINE_BYTES = 1 << 16


class OwnAnswers:
    r"""Finds the server's own answers in the lines about failed requests.

    >>> answers = OwnAnswers()
    >>> lines = "W-9000-m\t400", "W-9001-m\t507", "W-9001-m\town", "epoll-3-1\t503"
    >>> [answers.status(f"answer\t{line}") for line in lines]
    [None, None, 507, 503]
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}  # status of the last failed answer of each worker's thread

    def status(self, line: str) -> int | None:
        """Return the status of the server's own answer that this line completes, or None.

        Raises:
            ValueError: the line is not about an answer.
        """
        kind, thread, what = line.split("\t")
        if kind == "error":
            return 507 if what.strip().startswith(_NO_MEMORY) else None
        if kind != "answer":
            raise ValueError(f"expected a line about an answer, got {line[:80]!r}")
        if what == "own":
            return self._last.pop(thread, None)
        if not thread.startswith("W-"):
            return int(what)
        self._last[thread] = int(what)
        return None


class OwnAnswerReader(threading.Thread):
    """Reads the JVM's stdout to its end; logs and observes the server's own answers, and logs all other lines.

    Args:
        stdout: the JVM's stdout.
        model: `name/version` for the log, or an empty string if several models are served.
        observe: takes one observation per answer; None if no monitor can count them, as in multi-model mode.
    """

    def __init__(self, stdout: IO[bytes], model: str, observe: Observe | None) -> None:
        super().__init__(name="own answers", daemon=True)
        self._stdout = stdout
        self._extra = {"model": model} if model else {}
        self._observe = observe
        self._answers = OwnAnswers()
        self._counts: Counter[int] = Counter()  # not yet reported, by status

    def run(self) -> None:
        """Read until the JVM closes its stdout."""
        rest, report_at = b"", 0.0
        with self._stdout:  # if this thread fails, the JVM must not wait for a reader
            while True:
                timeout = max(0.0, report_at - time.monotonic()) if self._counts else None
                if select.select([self._stdout], [], [], timeout)[0]:
                    block = os.read(self._stdout.fileno(), _BLOCK_BYTES)
                    if not block:
                        break
                    *lines, rest = (rest + block).split(b"\n")
                    rest = rest[:_LONGEST_LINE_BYTES]
                    for line in lines:
                        self._take(line.decode(errors="replace"))
                if self._counts and time.monotonic() >= report_at:
                    self._report()
                    report_at = time.monotonic() + _REPORT_SECONDS
        self._report()

    def _take(self, line: str) -> None:
        try:
            status = self._answers.status(line)
        except ValueError:
            logger.info("the server wrote: %s", one_line(line))
            return
        if status is not None:
            self._counts[status] += 1

    def _report(self) -> None:
        for status, number in sorted(self._counts.items()):
            level = logging.INFO if status < 500 else logging.ERROR
            logger.log(level, "the server itself answered %d to %d requests", status, number, extra=self._extra)
        if self._observe is not None and self._counts:
            self._observe(tuple(Observation(status, {}) for status in self._counts.elements()))
        self._counts.clear()
