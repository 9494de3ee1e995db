"""An HTTP client that keeps a fixed number of requests in flight and measures the time of each."""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import urllib3

from driftserve.errors import ServerError

TEST_HEADER = {"X-Amzn-SageMaker-Custom-Attributes": "driftserve-test=true"}


@dataclass(frozen=True)
class Picture:
    """An image to send; `label` is its true label, or None."""

    body: bytes
    content_type: str
    label: str | None


@dataclass(frozen=True)
class Answer:
    """A response: the HTTP status, the JSON object, and how long it took."""

    status: int
    body: dict[str, object]
    milliseconds: float


class Client:
    """Sends images to `/invocations` of one server, over connections that are kept open."""

    def __init__(self, url: str, concurrency: int) -> None:
        self._url = f"{url}/invocations"
        self._concurrency = concurrency
        self._pool = urllib3.PoolManager(maxsize=concurrency, retries=False, timeout=urllib3.Timeout(60))

    def send(self, picture: Picture, is_test: bool = False) -> Answer:
        """Send one request and return the answer. The server answers a test as usual, but does not watch it for drift.

        Raises:
            ServerError: the server did not answer.
        """
        headers = {"Content-Type": picture.content_type} | (TEST_HEADER if is_test else {})
        started = time.perf_counter()
        try:
            response = self._pool.request("POST", self._url, body=picture.body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(f"no answer from {self._url}: {error}") from error
        milliseconds = (time.perf_counter() - started) * 1000
        try:
            body = json.loads(response.data)
        except ValueError:
            body = {"error": {"type": "NoJson", "message": response.data[:200].decode(errors="replace")}}
        return Answer(response.status, body, milliseconds)

    def send_all(
        self, pictures: Iterable[Picture], on_answer: Callable[[], None], is_test: bool = False
    ) -> list[Answer]:
        """Send all pictures; return the answers in the same order."""
        threads = ThreadPoolExecutor(self._concurrency)
        try:
            answers = []
            for answer in threads.map(lambda picture: self.send(picture, is_test), pictures):
                answers.append(answer)
                on_answer()
            return answers
        finally:
            threads.shutdown(cancel_futures=True)  # Ctrl-C waits for the requests in flight only
