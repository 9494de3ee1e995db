"""A fake of AWS Lambda: the Runtime API from which a function takes its events, and a Function URL in front of it.

The function is real. The fake imitates what a client or a function can observe. It follows
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html

To run it by hand for a container on Docker's bridge: `python tests/fake_lambda.py 172.17.0.1`.
"""

import base64
import json
import select
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MAX_EVENT_BYTES = 6 * 1024 * 1024
FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:fake"
_PREFIX = "/2018-06-01/runtime/"
_TEXT_TYPES = ("application/json", "application/xml", "application/javascript")
_TICK_SECONDS = 0.1


@dataclass
class Invocation:
    """One event for the function; `result` or `error` is set when the function has answered."""

    event: bytes
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: Any = None
    error: dict[str, Any] | None = None
    is_done: threading.Event = field(default_factory=threading.Event)


class FakeLambda:
    """One execution environment: it handles one invocation at a time, further ones wait.

    `init_errors` and `errors` hold what the function posted to the Runtime API, `events` what it received.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.runtime_api = self.url = ""
        self.init_errors: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.is_closed = False
        self._waiting: Queue[Invocation] = Queue()
        self._under_way: dict[str, Invocation] = {}
        self._one_at_a_time = threading.Lock()

    def invoke(self, event: object) -> Invocation:
        """Send an event to the function; return the invocation with its result or error (a timeout is an error)."""
        invocation = Invocation(json.dumps(event).encode())
        with self._one_at_a_time:
            self._under_way[invocation.request_id] = invocation
            self._waiting.put(invocation)
            if not invocation.is_done.wait(self.timeout_seconds):
                invocation.error = {"errorType": "Sandbox.Timedout"}
            del self._under_way[invocation.request_id]
        return invocation

    def next(self, connection: socket.socket) -> Invocation | None:
        """Return the next invocation; None if the function closed the connection or the fake is closed."""
        while not self.is_closed:
            if select.select([connection], [], [], 0)[0] and not connection.recv(1, socket.MSG_PEEK):
                return None
            try:
                invocation = self._waiting.get(timeout=_TICK_SECONDS)
            except Empty:
                continue
            if not invocation.error:  # skip an invocation that timed out in the queue
                self.events.append(json.loads(invocation.event))
                return invocation
        return None

    def finish(self, request_id: str, kind: str, body: bytes) -> bool:
        """Store a response or an error; return whether the invocation exists."""
        invocation = self._under_way.get(request_id)
        if invocation is None:
            return False
        if kind == "response":
            invocation.result = json.loads(body)
        else:
            invocation.error = json.loads(body)
            self.errors.append(invocation.error or {})
        invocation.is_done.set()
        return True


@contextmanager
def fake_lambda(host: str = "127.0.0.1", runtime_port: int = 0, timeout_seconds: float = 60.0) -> Iterator[FakeLambda]:
    """Run both servers: the Runtime API at `host`, which the function must reach, and the URL on loopback."""
    fake = FakeLambda(timeout_seconds)
    servers = [
        ThreadingHTTPServer((host, runtime_port), _runtime_api(fake)),
        ThreadingHTTPServer(("127.0.0.1", 0), _function_url(fake)),
    ]
    (fake.runtime_api, address) = ("{}:{}".format(*server.server_address[:2]) for server in servers)
    fake.url = f"http://{address}"
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(_TICK_SECONDS,), daemon=True).start()
    try:
        yield fake
    finally:
        fake.is_closed = True
        for server in servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body waits 40 ms for the ACK of the headers

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _runtime_api(fake: FakeLambda) -> type[BaseHTTPRequestHandler]:
    class RuntimeApi(_Handler):
        def do_GET(self) -> None:
            if self.path != f"{_PREFIX}invocation/next":
                return self.answer(404)
            invocation = fake.next(self.connection)
            if invocation is None:
                self.close_connection = True
                return None
            return self.answer(
                200,
                invocation.event,
                Content_Type="application/json",
                Lambda_Runtime_Aws_Request_Id=invocation.request_id,
                Lambda_Runtime_Deadline_Ms=str(round((time.time() + fake.timeout_seconds) * 1000)),
                Lambda_Runtime_Invoked_Function_Arn=FUNCTION_ARN,
            )

        def do_POST(self) -> None:
            body = self.body()
            if self.path == f"{_PREFIX}init/error":
                fake.init_errors.append(json.loads(body))
                return self.answer(202)
            name, _, rest = self.path.removeprefix(_PREFIX).partition("/")
            request_id, _, kind = rest.partition("/")
            is_known = name == "invocation" and kind in ("response", "error") and fake.finish(request_id, kind, body)
            return self.answer(202 if is_known else 404)

    return RuntimeApi


def _function_url(fake: FakeLambda) -> type[BaseHTTPRequestHandler]:
    class FunctionUrl(_Handler):
        def handle_any(self) -> None:
            event = _to_event(self.command, self.path, list(self.headers.items()), self.body())
            if len(json.dumps(event)) > MAX_EVENT_BYTES:
                return self.answer(413, b'{"Message":"Request Entity Too Large"}', Content_Type="application/json")
            invocation = fake.invoke(event)
            if invocation.error is not None:
                return self.answer(502, b"Internal Server Error", X_Amzn_ErrorType="InternalServerErrorException")
            status, headers, body = _from_result(invocation.result)
            return self.answer(status, body, **headers, x_amzn_RequestId=invocation.request_id)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

    return FunctionUrl


def _to_event(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """Return the event in payload format 2.0: text as it is, other bodies in base64, no `body` if it is empty."""
    url = urlsplit(target)
    lower: dict[str, str] = {}
    for name, value in headers:
        lower[name.lower()] = ",".join(filter(None, (lower.get(name.lower()), value)))
    media_type = lower.get("content-type", "").split(";")[0].strip()
    is_text = (media_type.startswith("text/") or media_type in _TEXT_TYPES) and _is_utf8(body)
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": url.path,
        "rawQueryString": url.query,
        "headers": lower | {"x-forwarded-proto": "https", "x-forwarded-port": "443", "x-forwarded-for": "127.0.0.1"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "fake",
            "domainName": "fake.lambda-url.eu-central-1.on.aws",
            "domainPrefix": "fake",
            "http": {
                "method": method,
                "path": url.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": lower.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": round(time.time() * 1000),
        },
        "isBase64Encoded": bool(body) and not is_text,
    }
    if url.query:
        event["queryStringParameters"] = dict(parse_qsl(url.query))
    if body:
        event["body"] = body.decode() if is_text else base64.b64encode(body).decode()
    return event


def _from_result(result: Any) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a function's result; a result without a status is the body itself."""
    if not isinstance(result, dict) or "statusCode" not in result:
        return 200, {"content-type": "application/json"}, json.dumps(result).encode()
    body = result.get("body", "")
    decoded = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
    return result["statusCode"], {"content-type": "application/json"} | result.get("headers", {}), decoded


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


if __name__ == "__main__":
    with fake_lambda(*sys.argv[1:2]) as _fake:
        print(f"AWS_LAMBDA_RUNTIME_API={_fake.runtime_api}\n{_fake.url}", flush=True)
        threading.Event().wait()
