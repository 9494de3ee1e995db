"""Answers AWS Lambda's invocations: `python -m awslambdaric driftserve.adapters.aws_lambda.handle`.

Events have the payload format 2.0, which Function URLs and the HTTP APIs of API Gateway send:
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

import base64
import functools
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from driftserve.bootstrap import build_function, configure_logging
from driftserve.errors import BadRequest, DriftserveError, MethodNotAllowed, ModelError, NotFound
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.inference.service import Request, Response, Service, error_response
from driftserve.observations.observation import is_marked_as_test
from driftserve.settings import Settings
from driftserve.text import printable
from driftserve.validation import first_problem

logger = logging.getLogger(__name__)

_METHODS = {"/ping": "GET", "/invocations": "POST", "/": "POST"}

Handle = Callable[[Any, Any], dict[str, object]]


def __getattr__(name: str) -> Handle:
    """Return `handle`, which is built at the first access, not at import.

    awslambdaric reads `handle` in the init phase, in which Lambda gives the full processor; an exception in this phase
    becomes an init error. awslambdaric takes a handler only by its name, so a `main` of ours could not pass one.
    """
    if name != "handle":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _built()


@functools.cache
def _built() -> Handle:
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        keep_to_temporary_directory()
        service = build_function(settings)
    except (DriftserveError, OSError) as error:
        sys.stderr.write(f"driftserve: {printable(' '.join(str(error).split()))}\n")
        raise
    except Exception:  # awslambdaric would report an AttributeError as 'handler missing', without its traceback
        logger.exception("the function cannot be built")
        raise
    return functools.partial(answer, service)


def answer(service: Service, event: Any, context: Any) -> dict[str, object]:
    """Return the Function URL's response to an event, with the same body and status as from the model servers.

    Args:
        service: makes the predictions.
        event: an event in payload format 2.0; for another format the response has status 400.
        context: Lambda's context of the invocation.
    """
    request_id = str(context.aws_request_id)
    try:
        parsed = _read(event)
        request_id = parsed.request_context.request_id or request_id
        response = _respond(service, parsed, request_id)
    except DriftserveError as error:
        response = error_response(error)
        level = logging.INFO if error.status < 500 else logging.ERROR
        extra = {"request_id": request_id, "model": service.model_name}
        logger.log(level, "answered %d: %s: %s", error.status, type(error).__name__, error, extra=extra)
    except Exception:  # the function must continue, and the caller must get JSON
        logger.exception("an event failed", extra={"request_id": request_id, "model": service.model_name})
        response = error_response(ModelError("internal error; the function's log has the traceback"))
    return {
        "statusCode": response.status,
        "headers": {"content-type": "application/json", "x-request-id": request_id},
        "body": json.dumps(response.body),
        "isBase64Encoded": False,
    }


class _Part(BaseModel):
    """A part of an event; other fields are ignored."""

    model_config = ConfigDict(frozen=True)


class _Http(_Part):
    method: str


class _RequestContext(_Part):
    http: _Http
    request_id: str | None = Field(default=None, alias="requestId")


class _Event(_Part):
    version: Literal["2.0"]
    path: str = Field(alias="rawPath")
    headers: dict[str, str]  # names in lower case
    request_context: _RequestContext = Field(alias="requestContext")
    body: str | None = None
    is_base64: bool = Field(default=False, alias="isBase64Encoded")


def _read(event: Any) -> _Event:
    try:
        return _Event.model_validate(event)
    except ValidationError as error:
        problem = first_problem(error)
        raise BadRequest(
            "expected a Function URL event in payload format 2.0, got an invalid one: "
            f"{problem.place or 'event'}: {problem.reason}; invoke the function through its URL"
        ) from error


def _respond(service: Service, event: _Event, request_id: str) -> Response:
    method = _METHODS.get(event.path)
    if method is None:
        raise NotFound(f"expected one of the paths {', '.join(_METHODS)}, got {event.path[:80]!r}")
    if (got := event.request_context.http.method) != method:
        raise MethodNotAllowed(f"expected {method} {event.path}, got {got[:20]}")
    if method == "GET":
        return Response(200, {"status": "Healthy"})
    request = Request(
        body=_body(event),
        content_type=event.headers.get("content-type", ""),
        request_id=request_id,
        is_test=is_marked_as_test(event.headers.get("x-amzn-sagemaker-custom-attributes", "")),
    )
    return service.predict([request])[0]


def _body(event: _Event) -> bytes:
    text = event.body or ""
    if not event.is_base64:
        return text.encode(errors="surrogatepass")  # an event can contain lone surrogates; the service rejects them
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest(f"expected a base64 body, as isBase64Encoded is true, got {text[:40]!r} ({error})") from error
