"""A fake CloudWatch: a real HTTP server for boto3's PutMetricData that fails as a test asks.

It speaks the JSON protocol that botocore 1.44 chooses, with gzip, and enforces the limits of the service
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html). It does not check signatures.
"""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Answer = Literal["accept", "throttle", "unavailable", "expired", "invalid", "hang"]

# status, the code in the query protocol (x-amzn-query-error), the type in JSON
_ERRORS = {
    "throttle": (400, "Throttling", "ThrottlingException"),
    "unavailable": (503, "ServiceUnavailable", "ServiceUnavailableException"),
    "expired": (400, "ExpiredToken", "ExpiredTokenException"),
    "invalid": (400, "InvalidParameterValue", "InvalidParameterValueException"),
}


class FakeCloudWatch:
    """Answers the first calls with the entries of `script`, all later calls with `then`; keeps the accepted metrics."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.then: Answer = "accept"
        self.calls: list[Answer] = []
        self.accepted: list[list[dict[str, Any]]] = []
        self.released = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def sums(self) -> Counter[tuple[str, ...]]:
        """Return the sum of each accepted metric, by its name and the values of its dimensions."""
        sums: Counter[tuple[str, ...]] = Counter()
        for call in self.accepted:
            for datum in call:
                key = (datum["MetricName"], *(dimension["Value"] for dimension in datum["Dimensions"]))
                sums[key] += sum(value * count for value, count in zip(datum["Values"], datum["Counts"], strict=True))
        return sums

    def answer(self, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body of the response to one call."""
        with self._lock:
            answer = self.script.pop(0) if self.script else self.then
            self.calls.append(answer)
        if answer == "hang":
            self.released.wait()
            return _error("unavailable", "too late")
        if answer != "accept":
            return _error(answer, "as the script says")
        call = json.loads(body)
        if fault := _fault(target, call, len(body)):
            return _error("invalid", fault)
        with self._lock:
            self.accepted.append(call["MetricData"])
        return 200, {}, b"{}"


@contextmanager
def fake_cloudwatch(port: int = 0, host: str = "127.0.0.1") -> Iterator[FakeCloudWatch]:
    """Run the server on a local address; port 0 chooses a free port."""
    fake = FakeCloudWatch()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-amz-json-1.0", self.headers["Content-Type"]
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            status, headers, answer = fake.answer(self.headers["X-Amz-Target"], body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Write no access log."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client closed a hanging connection
    fake.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _error(kind: str, message: str) -> tuple[int, dict[str, str], bytes]:
    status, code, json_type = _ERRORS[kind]
    headers = {"x-amzn-query-error": f"{code};{'Sender' if status == 400 else 'Receiver'}"}
    body = {"__type": f"com.amazonaws.cloudwatch.v2010_08_01#{json_type}", "message": message}
    return status, headers, json.dumps(body).encode()


def _fault(target: str, call: dict[str, Any], size: int) -> str | None:
    """Return why the service would refuse the call; None if it would accept it."""
    if target != "GraniteServiceVersion20100801.PutMetricData":
        return f"no such operation: {target}"
    if size > 1024 * 1024 or len(call["MetricData"]) > 1000:
        return f"{size} bytes, {len(call['MetricData'])} metrics"
    for datum in call["MetricData"]:
        if not 1 <= len(datum["Values"]) == len(datum["Counts"]) <= 150:
            return f"{len(datum['Values'])} values, {len(datum['Counts'])} counts"
        if not all(isinstance(value, float | int) and abs(value) < 2.0**360 for value in datum["Values"]):
            return "a value is no number"
        for dimension in datum["Dimensions"]:
            value = dimension["Value"]
            if not (1 <= len(value) <= 1024 and value.isascii() and not value.startswith(":")) or not value.strip():
                return f"the dimension's value {value!r}"
        if len(datum["Dimensions"]) > 30:
            return "more than 30 dimensions"
    return None
