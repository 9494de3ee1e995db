"""A fake of SageMaker's pipeline executions, in front of moto: an execution runs until a test ends it.

moto answers every operation that this fake does not have. The fake is needed because moto ignores the request token,
reports `Succeeded` at once, and supports neither steps nor stopping. It imitates:

- StartPipelineExecution: a token of 32 to 128 characters, a display name that matches SageMaker's pattern, and "an
  idempotent operation completes no more than once": the same token with the same request returns the same ARN
  (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StartPipelineExecution.html). The service does not
  document the same token with a different request; the fake raises ConflictException, as the operation can.
- ListPipelineExecutions and ListPipelineExecutionSteps with pages, DescribePipelineExecution, StopPipelineExecution,
  ListPipelineParametersForExecution.

It does not check signatures.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

ACCOUNT, REGION = "123456789012", "eu-central-1"  # as moto has them
PAGE = 2  # smaller than the service's page, so that tests need several
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,81}")

_Call = dict[str, Any]


@dataclass
class FakeExecution:
    """An execution that tests read and control."""

    arn: str
    request: _Call
    started: float
    status: str = "Executing"
    reason: str | None = None
    steps: list[_Call] = field(default_factory=list)

    def summary(self) -> _Call:
        return {
            "PipelineExecutionArn": self.arn,
            "StartTime": self.started,
            "PipelineExecutionStatus": self.status,
            "PipelineExecutionDescription": self.request.get("PipelineExecutionDescription"),
            "PipelineExecutionDisplayName": self.request.get("PipelineExecutionDisplayName"),
        }


class _Refused(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class FakeExecutions:
    """The executions by ARN. If `together` is set, starts wait at this barrier until all have arrived."""

    def __init__(self, moto: str) -> None:
        self.moto = moto
        self.url = ""
        self.executions: dict[str, FakeExecution] = {}
        self.starts = 0
        self.together: threading.Barrier | None = None
        self._tokens: dict[str, FakeExecution] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        self.executions.clear()
        self._tokens.clear()
        self.starts, self.together = 0, None

    def answer(self, operation: str, call: _Call) -> _Call | None:
        """Return the response to a call; None if moto has to answer it."""
        method = getattr(self, operation, None)
        if self.together is not None and operation == "StartPipelineExecution":
            self.together.wait(timeout=60)
        with self._lock:
            return method(call) if method is not None and operation[0].isupper() else None

    def StartPipelineExecution(self, call: _Call) -> _Call:  # noqa: N802  the operation's name
        self.starts += 1
        token = call["ClientRequestToken"]
        if not 32 <= len(token) <= 128:
            raise _Refused("ValidationException", f"ClientRequestToken has {len(token)} characters")
        if not _NAME.fullmatch(call["PipelineExecutionDisplayName"]):
            raise _Refused("ValidationException", "PipelineExecutionDisplayName failed to satisfy constraint")
        if token in self._tokens:
            if self._tokens[token].request != call:
                raise _Refused("ConflictException", "ClientRequestToken was given with another request")
            return {"PipelineExecutionArn": self._tokens[token].arn}
        number = f"{len(self.executions):012x}"
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{call['PipelineName']}/execution/{number}"
        self._tokens[token] = self.executions[arn] = FakeExecution(arn, call, time.time())
        return {"PipelineExecutionArn": arn}

    def ListPipelineExecutions(self, call: _Call) -> _Call:  # noqa: N802
        of_pipeline = [run for run in self.executions.values() if run.request["PipelineName"] == call["PipelineName"]]
        newest_first = sorted(of_pipeline, key=lambda run: run.started, reverse=True)
        return _page("PipelineExecutionSummaries", [run.summary() for run in newest_first], call)

    def DescribePipelineExecution(self, call: _Call) -> _Call:  # noqa: N802
        run = self._known(call)
        described = {**run.summary(), "CreationTime": run.started, "LastModifiedTime": run.started}
        return {**described, "FailureReason": run.reason} if run.reason else described

    def ListPipelineExecutionSteps(self, call: _Call) -> _Call:  # noqa: N802
        return _page("PipelineExecutionSteps", self._known(call).steps, call)

    def ListPipelineParametersForExecution(self, call: _Call) -> _Call:  # noqa: N802
        return {"PipelineParameters": self._known(call).request["PipelineParameters"]}

    def StopPipelineExecution(self, call: _Call) -> _Call:  # noqa: N802
        run = self._known(call)
        if run.status != "Executing":
            raise _Refused("ValidationException", f"Pipeline execution with ARN {run.arn} is {run.status}")
        run.status = "Stopping"
        return {"PipelineExecutionArn": run.arn}

    def _known(self, call: _Call) -> FakeExecution:
        arn = call["PipelineExecutionArn"]
        if arn not in self.executions:
            raise _Refused("ResourceNotFound", f"Pipeline execution with ARN {arn} does not exist.")
        return self.executions[arn]


@contextmanager
def fake_sagemaker_executions(moto: str) -> Iterator[FakeExecutions]:
    """Run the fake in front of moto's server at the URL `moto`; its `url` is for AWS_ENDPOINT_URL_SAGEMAKER."""
    fake = FakeExecutions(moto)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(fake: FakeExecutions) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            call = json.loads(body)
            operation = self.headers["X-Amz-Target"].removeprefix("SageMaker.")
            try:
                answer = fake.answer(operation, call)
            except _Refused as refused:
                return self._send(400, json.dumps({"__type": refused.kind, "message": str(refused)}).encode())
            if answer is not None:
                return self._send(200, json.dumps(answer).encode())
            kept = {name: text for name, text in self.headers.items() if name.lower() not in ("host", "content-length")}
            response = urllib3.request("POST", fake.moto, headers=kept, body=body, retries=False)
            return self._send(response.status, response.data)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no access log."""

    return Handler


def _page(name: str, items: list[_Call], call: _Call) -> _Call:
    start = int(call.get("NextToken", 0))
    rest = {"NextToken": str(start + PAGE)} if start + PAGE < len(items) else {}
    return {name: items[start : start + PAGE], **rest}
