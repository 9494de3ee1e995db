"""Generate load on a server: threads that send requests without pause and record each outcome."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import urllib3


class Server(Protocol):
    """A server with a URL."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Outcome:
    """Start and end of a request (monotonic clock) and its status; None if the connection broke."""

    began_at: float
    ended_at: float
    status: int | None


@dataclass
class Load:
    """The outcomes of all requests so far."""

    outcomes: list[Outcome] = field(default_factory=list)

    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    def answered(self) -> int:
        return len(self.outcomes) - len(self.failed())


@contextmanager
def load(endpoint: Server, bodies: Sequence[bytes], threads: int = 4) -> Iterator[Load]:
    """Send the bodies in turn, from several threads, until the block ends."""
    seen = Load()
    stop = threading.Event()

    def send() -> None:
        pool = urllib3.HTTPConnectionPool(endpoint.url.removeprefix("http://"), retries=False, timeout=70)
        number = 0
        while not stop.is_set():
            began_at = time.monotonic()
            try:
                headers = {"Content-Type": "image/png"}
                status = pool.request("POST", "/invocations", bodies[number % len(bodies)], headers=headers).status
            except urllib3.exceptions.HTTPError:
                status = None
                time.sleep(0.05)
            seen.outcomes.append(Outcome(began_at, time.monotonic(), status))
            number += 1

    senders = [threading.Thread(target=send, daemon=True) for _ in range(threads)]
    for sender in senders:
        sender.start()
    try:
        yield seen
    finally:
        stop.set()
        for sender in senders:
            sender.join(80)
