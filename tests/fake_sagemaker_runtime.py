"""A fake of the SageMaker Runtime service: it takes boto3's InvokeEndpoint and forwards it to a local server.

The server is real. The fake imitates what a client or a container can observe:

- the request, the forwarded headers, the errors and their statuses:
  https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
- a container has 60 seconds; a status of 400 or more becomes a ModelError (same page). The message has the wording of
  https://github.com/aws/sagemaker-python-sdk/issues/2955
- at most 25 MB: https://docs.aws.amazon.com/sagemaker/latest/dg/hosting-faqs.html. The response to a larger body is
  that of https://github.com/aws/sagemaker-python-sdk/issues/171

It does not support signatures, variants or multiple models.

To run it by hand: `python tests/fake_sagemaker_runtime.py NAME http://127.0.0.1:8080`.
"""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

MAX_BODY_BYTES = 25 * 1024 * 1024
CONTAINER_TIMEOUT_SECONDS = 60
ACCOUNT, REGION, VARIANT = "123456789012", "eu-central-1", "AllTraffic"
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_TO_CONTAINER = ("Content-Type", "Accept", _CUSTOM_ATTRIBUTES)
_TO_CLIENT = ("Content-Type", _CUSTOM_ATTRIBUTES)

_Answer = tuple[int, Mapping[str, str], bytes]


@contextmanager
def fake_sagemaker_runtime(endpoints: Mapping[str, str], port: int = 0) -> Iterator[str]:
    """Run the fake on loopback; yield its URL for AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME.

    Args:
        endpoints: Maps an endpoint's name to the URL of its server, which answers /invocations.
        port: 0 chooses a free port.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _service(endpoints))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _service(endpoints: Mapping[str, str]) -> type[BaseHTTPRequestHandler]:
    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise the body waits 40 ms for the ACK of the headers

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            if length > MAX_BODY_BYTES:
                self.close_connection = True  # the body was not read
                answer = _too_large()
            else:
                answer = _invoke(endpoints, self.path, self.headers, self.rfile.read(length))
            self._send(*answer)

        def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Write no access log."""

    return Service


def _invoke(endpoints: Mapping[str, str], path: str, headers: Message, body: bytes) -> _Answer:
    root, _, rest = path.removeprefix("/").partition("/")
    name, _, operation = rest.partition("/")
    if (root, operation) != ("endpoints", "invocations"):
        return _error(404, "UnknownOperationException")
    if name not in endpoints:
        return _error(400, "ValidationError", Message=f"Endpoint {name} of account {ACCOUNT} not found.")
    kept = {key: headers[key] for key in _TO_CONTAINER if key in headers}
    url = endpoints[name].rstrip("/") + "/invocations"
    try:
        response = urllib3.request(
            "POST", url, body=body, headers=kept, retries=False, redirect=False, timeout=CONTAINER_TIMEOUT_SECONDS
        )
    except urllib3.exceptions.HTTPError:
        return _model_error(name, 0, "Your invocation timed out while waiting for a response from container model.")
    if response.status >= 400:
        return _model_error(name, response.status, response.data.decode(errors="replace"))
    answered = {key: response.headers[key] for key in _TO_CLIENT if key in response.headers}
    return 200, answered | {"x-Amzn-Invoked-Production-Variant": VARIANT}, response.data


def _model_error(name: str, status: int, text: str) -> _Answer:
    """Return the error for a container that answered with this status; status 0 means that it did not answer."""
    group = f"/aws/sagemaker/Endpoints/{name}"
    side = "client" if 400 <= status < 500 else "server"
    message = (
        f'Received {side} error ({status}) from {VARIANT} with message "{text}". See https://{REGION}.console.aws.'
        f"amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group} in account {ACCOUNT} for more "
        "information."
    )
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    return _error(
        424, "ModelError", Message=message, OriginalStatusCode=status, OriginalMessage=text, LogStreamArn=stream
    )


def _too_large() -> _Answer:
    """Return an error without a type; botocore then uses the status as its code."""
    message = f"HTTP content length exceeded {MAX_BODY_BYTES} bytes."
    return 413, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()


def _error(status: int, kind: str, **members: object) -> _Answer:
    return status, {"Content-Type": "application/json", "x-amzn-errortype": kind}, json.dumps(members).encode()


if __name__ == "__main__":
    with fake_sagemaker_runtime({sys.argv[1]: sys.argv[2]}) as _url:
        print(f"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME={_url}", flush=True)
        threading.Event().wait()
