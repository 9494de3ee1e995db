"""Answers AWS Lambda's invocations: `python -m awslambdaric driftserve.adapters.aws_lambda.handle`."""

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from driftserve.adapters.lambda_event import HttpCall, read_call, to_result
from driftserve.bootstrap import build_function, configure_logging
from driftserve.errors import DriftserveError, MethodNotAllowed, ModelError, NotFound
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.inference.service import Request, Response, Service, error_response
from driftserve.observations.observation import is_marked_as_test
from driftserve.settings import Settings
from driftserve.text import printable

logger = logging.getLogger(__name__)

_METHODS = {"ping": "GET", "invocations": "POST"}
_LOST_BYTES = (
    "; the event's isBase64Encoded is false, so a gateway passed the body on as text, which destroys an image: add */* "
    "to the binary media types of the REST API (binaryMediaTypes), and deploy the API again"
)

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
    """Return the result for an event, with the same body and status as from the model servers.

    Args:
        service: makes the predictions.
        event: an event of a service that `lambda_event` knows; for another one the result has status 400.
        context: Lambda's context of the invocation.
    """
    request_id = str(context.aws_request_id)
    try:
        call = read_call(event)
        request_id = call.request_id or request_id
        response = _respond(service, call, request_id)
    except DriftserveError as error:
        response = error_response(error)
        level = logging.INFO if error.status < 500 else logging.ERROR
        extra = {"request_id": request_id, "model": service.model_name}
        logger.log(level, "answered %d: %s: %s", error.status, type(error).__name__, error, extra=extra)
    except Exception:  # the function must continue, and the caller must get JSON
        logger.exception("an event failed", extra={"request_id": request_id, "model": service.model_name})
        response = error_response(ModelError("internal error; the function's log has the traceback"))
    return to_result(response, event, request_id)


def _respond(service: Service, call: HttpCall, request_id: str) -> Response:
    name = _name(call)
    method = _METHODS.get(name)
    if method is None:
        raise NotFound(f"expected the path /, or one that ends with /invocations or /ping, got {call.path[:80]!r}")
    if call.method != method:
        raise MethodNotAllowed(
            f"expected {method} {call.path[:80]}, got {call.method[:20]}; health checks are GET /ping"
        )
    if name == "ping":
        return Response(200, {"status": "Healthy"})
    body = call.body_bytes()
    request = Request(
        body=body,
        content_type=call.headers.get("content-type", ""),
        request_id=request_id,
        is_test=is_marked_as_test(call.headers.get("x-amzn-sagemaker-custom-attributes", "")),
        content_encoding=call.content_encoding(body),
    )
    return _explained(service.predict([request])[0], call)


def _name(call: HttpCall) -> str:
    """Return the last part of the path. Before it are the stage, the base path or what a load balancer's rule has.

    The root, `/` or `/STAGE`, means `invocations`, because a Function URL needs no path.
    """
    parts = [part for part in call.path.split("/") if part]
    return parts[-1] if parts and parts != [call.stage] else "invocations"


def _explained(response: Response, call: HttpCall) -> Response:
    """Return the response; if the body lost its bytes on the way to the function, with the reason."""
    error = response.body.get("error")
    if call.is_base64 or not call.body or response.status != 400 or not isinstance(error, dict):
        return response
    is_image = error["type"] == "UndecodableImage" and "predictions" not in response.body
    if not is_image and "\ufffd" not in call.body:  # what a gateway writes for bytes that are not UTF-8
        return response
    return replace(response, body=response.body | {"error": error | {"message": error["message"] + _LOST_BYTES}})
