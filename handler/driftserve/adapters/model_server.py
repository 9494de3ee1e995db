"""Answers the calls of TorchServe and MMS: an archive's one-line handler file imports `handle` from here.

Both servers call `handle` in the same way, and the methods of the context that are used here are the same in both.
"""

import contextlib
import json
import logging
import os
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from driftserve.bootstrap import build_service, configure_logging
from driftserve.errors import DriftserveError, ModelError, NotReady
from driftserve.inference.service import Request, Response, Service, error_response
from driftserve.observations.observation import is_marked_as_test
from driftserve.runtime.activity import BusyMark
from driftserve.runtime.directory import SERVED_DIR_VARIABLE
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

# An archive's handler file imports only `handle`, and the servers call it as a function: the state is in this module.
_service: Service | None = None
_busy: AbstractContextManager[None] = contextlib.nullcontext()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes]:
    """Load the model if `data` is None, as in a server's first call; otherwise answer a batch.

    Args:
        data: one dict per request, with the raw bytes of the request under `body` or `data`.
        context: the server's context of the batch; this function sets the status and content type of each response.

    Returns:
        One JSON text per request; an empty list if `data` is None.
    """
    if data is None:
        _load(Path(context.system_properties["model_dir"]), str(context.model_name))
        return []
    with _busy:
        requests = [_to_request(row, context, index) for index, row in enumerate(data)]
        return [_to_answer(response, context, index) for index, response in enumerate(_predict(requests))]


def _load(model_dir: Path, server_name: str) -> None:
    global _service, _busy
    settings = Settings.from_environment()
    configure_logging(settings)
    if settings.multi_model:  # serve the verified copy; KeyError if `worker` did not start this process
        model_dir = Path(os.environ[SERVED_DIR_VARIABLE])
    _service = build_service(model_dir, settings, server_name=server_name if settings.multi_model else "")
    if settings.runtime_dir is not None:
        _busy = BusyMark(settings.runtime_dir)


def _predict(requests: list[Request]) -> list[Response]:
    service = _service
    if service is None:
        return [error_response(NotReady("the model is not loaded yet; retry in a few seconds"))] * len(requests)
    try:
        return service.predict(requests)
    except DriftserveError as error:
        return [error_response(error)] * len(requests)
    except Exception:  # the worker must continue, and the caller must get JSON
        origin = {"request_id": ", ".join(request.request_id for request in requests), "model": service.model_name}
        logger.exception("a batch of %d failed", len(requests), extra=origin)
        return [error_response(ModelError("internal error; the server's log has the traceback"))] * len(requests)


def _to_request(row: dict[str, Any], context: Any, index: int) -> Request:
    body = row.get("body", row.get("data"))
    headers = {str(name).lower(): value for name, value in context.get_all_request_header(index).items()}
    return Request(
        body=bytes(body) if isinstance(body, (bytes, bytearray)) else b"",
        content_type=str(headers.get("content-type", "")),
        request_id=str(context.get_request_id(index)),
        is_test=is_marked_as_test(str(headers.get("x-amzn-sagemaker-custom-attributes", ""))),
        content_encoding=str(headers.get("content-encoding", "")),
    )


def _to_answer(response: Response, context: Any, index: int) -> bytes:
    context.set_response_status(response.status, HTTPStatus(response.status).phrase, index)
    context.set_response_content_type(index, "application/json")
    return json.dumps(response.body).encode()
