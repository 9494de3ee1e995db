"""Reads the HTTP request in a Lambda event, and writes the result that the sender of the event expects.

Four services send requests to a function, in three formats:

- Function URLs and HTTP APIs of API Gateway, format 2.0: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
  and https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
- REST APIs of API Gateway, and HTTP APIs with format 1.0:
  https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
- Application Load Balancers: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from driftserve.errors import BadRequest
from driftserve.inference.service import Response
from driftserve.validation import first_problem

_GZIP_START = b"\x1f\x8b"


@dataclass(frozen=True)
class HttpCall:
    """The HTTP request of an event.

    `path` is the path without the query. It may begin with the name of the `stage`, which is empty if there is none.
    `headers` has names in lower case; a header that was sent several times has its values joined by ", ". `body` is
    text, or base64 if `is_base64`. `is_unpacked` is true if the sender has unpacked the body, but left the header
    Content-Encoding.
    """

    method: str
    path: str
    stage: str
    headers: Mapping[str, str]
    body: str
    is_base64: bool
    request_id: str | None
    is_unpacked: bool

    def body_bytes(self) -> bytes:
        """Return the body's bytes.

        Raises:
            BadRequest: the body is marked as base64, and is not base64.
        """
        if not self.is_base64:
            return self.body.encode(errors="surrogatepass")  # an event can contain lone surrogates
        try:
            return base64.b64decode(self.body, validate=True)
        except ValueError as error:
            raise BadRequest(
                f"expected a base64 body, as isBase64Encoded is true, got {self.body[:40]!r} ({error})"
            ) from error

    def content_encoding(self, body: bytes) -> str:
        """Return the coding of the body's bytes; "" if there is none."""
        if not self.is_base64 or (self.is_unpacked and not body.startswith(_GZIP_START)):
            return ""  # no packed body is text
        return self.headers.get("content-encoding", "")


def read_call(event: Any) -> HttpCall:
    """Return the HTTP request of an event.

    Raises:
        BadRequest: the event does not come from one of the four services.
    """
    is_first_format = isinstance(event, dict) and "httpMethod" in event
    try:
        return (_FirstFormat if is_first_format else _SecondFormat).model_validate(event).call()
    except ValidationError as error:
        problem = first_problem(error)
        raise BadRequest(
            "expected an event of a Function URL, of API Gateway (payload format 1.0 or 2.0) or of an Application Load "
            f"Balancer, got another one: {problem.place or 'event'}: {problem.reason}; invoke the function through its "
            "URL, or through a Lambda proxy integration"
        ) from error


def to_result(response: Response, event: Any, request_id: str) -> dict[str, object]:
    """Return the function's result, in the format of the event's sender."""
    headers = {"content-type": "application/json", "x-request-id": request_id}
    result: dict[str, object] = {
        "statusCode": response.status,
        "headers": headers,
        "body": json.dumps(response.body),
        "isBase64Encoded": False,
    }
    if not _is_from_load_balancer(event):
        return result
    result["statusDescription"] = f"{response.status} {HTTPStatus(response.status).phrase}"
    if "multiValueHeaders" in event:  # the target group has multi-value headers, and ignores `headers`
        del result["headers"]
        result["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    return result


def _is_from_load_balancer(event: Any) -> bool:
    context = event.get("requestContext") if isinstance(event, dict) else None
    return isinstance(context, dict) and "elb" in context


class _Part(BaseModel):
    """A part of an event; other fields are ignored."""

    model_config = ConfigDict(frozen=True)


class _Http(_Part):
    method: str


class _Context(_Part):
    request_id: str | None = Field(default=None, alias="requestId")
    stage: str | None = None
    elb: object = None  # only load balancers send it


class _SecondContext(_Context):
    http: _Http


class _Event(_Part):
    body: str | None = None
    is_base64: bool = Field(default=False, alias="isBase64Encoded")
    headers: dict[str, str] | None = None


class _SecondFormat(_Event):
    version: Literal["2.0"]
    path: str = Field(alias="rawPath")
    context: _SecondContext = Field(alias="requestContext")

    def call(self) -> HttpCall:
        return HttpCall(
            method=self.context.http.method,
            path=self.path,
            stage=self.context.stage or "",
            headers=_joined((self.headers or {}).items()),
            body=self.body or "",
            is_base64=self.is_base64,
            request_id=self.context.request_id,
            is_unpacked=False,
        )


class _FirstFormat(_Event):
    version: Literal["1.0"] | None = None  # HTTP APIs send it, REST APIs and load balancers do not
    method: str = Field(alias="httpMethod")
    path: str
    multi_value_headers: dict[str, list[str]] | None = Field(default=None, alias="multiValueHeaders")
    context: _Context = Field(default=_Context(), alias="requestContext")

    def call(self) -> HttpCall:
        several = ((name, value) for name, values in (self.multi_value_headers or {}).items() for value in values)
        return HttpCall(
            method=self.method,
            path=self.path,
            stage=self.context.stage or "",
            headers=_joined(several) or _joined((self.headers or {}).items()),
            body=self.body or "",
            is_base64=self.is_base64,
            request_id=self.context.request_id,
            # A REST API unpacks the body, and leaves the header: https://github.com/dougmoscrop/serverless-http/issues/194
            is_unpacked=self.version is None and self.context.elb is None,
        )


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
