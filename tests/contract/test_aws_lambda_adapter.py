"""Test the AWS Lambda adapter with Function URL events and the real context of the runtime client."""

import base64
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awslambdaric.lambda_context import LambdaContext

from driftserve.adapters import aws_lambda
from driftserve.bootstrap import build_function
from driftserve.errors import SettingsError
from driftserve.inference.service import Request, Response, Service
from driftserve.settings import Settings
from lambda_events import FUNCTION_URL
from sample_images import encode, scene

CONTEXT = LambdaContext("invocation-1", None, None, "0", "arn:aws:lambda:eu-central-1:123456789012:function:f")


@pytest.fixture
def service(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return build_function(Settings(model_dir=archive, sinks=()))


def _event(method: str = "POST", path: str = "/invocations", body: object = None, **headers: str) -> dict[str, Any]:
    """Return the documented Function URL event, changed to this request."""
    context = FUNCTION_URL["requestContext"]
    event = dict(FUNCTION_URL) | {
        "rawPath": path,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": context | {"http": context["http"] | {"method": method, "path": path}},
    }
    del event["body"]
    if isinstance(body, bytes):
        return event | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event if body is None else event | {"body": body}


def _answer(service: Service, event: object) -> tuple[Any, dict[str, Any], dict[str, str]]:
    answer: Any = aws_lambda.answer(service, event, CONTEXT)
    assert set(answer) == {"statusCode", "headers", "body", "isBase64Encoded"}
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


@pytest.mark.parametrize("path", ["/", "/invocations"])
def test_an_image_in_base64_is_classified(service: Service, path: str) -> None:
    blue = np.zeros((50, 70, 3), np.uint8) + np.array([10, 10, 200], np.uint8)
    status, body, headers = _answer(service, _event("POST", path, encode(blue), content_type="image/png"))
    assert (status, body["label"], body["request_id"]) == (200, "blue", "request-1")
    assert headers["x-request-id"] == "request-1"


def test_a_json_body_is_accepted_as_text_or_bytes(service: Service, generator: np.random.Generator) -> None:
    instance = {"b64": base64.b64encode(encode(scene(generator))).decode()}
    text = json.dumps({"instances": [instance, {"b64": "eA=="}]})
    for body in (text, text.encode()):
        status, answer, _ = _answer(service, _event("POST", "/", body, content_type="application/json"))
        first, second = answer["predictions"]
        assert (status, first["label"]) == (200, _label(service, instance["b64"]))
        assert second["error"]["type"] == "UndecodableImage"


def _label(service: Service, image: str) -> object:
    (response,) = service.predict([Request(base64.b64decode(image), "image/png", "r")])
    return response.body["label"]


def test_ping_says_that_the_model_is_loaded(service: Service) -> None:
    assert _answer(service, _event("GET", "/ping"))[:2] == (200, {"status": "Healthy"})


@pytest.mark.parametrize(
    ("event", "status", "kind", "message"),
    [
        (FUNCTION_URL, 404, "NotFound", "one that ends with /invocations or /ping, got '/my/path'"),
        (_event("GET", "/invocations"), 405, "MethodNotAllowed", "expected POST /invocations, got GET"),
        (_event("POST", "/ping"), 405, "MethodNotAllowed", "expected GET /ping, got POST"),
        (_event("GET", "/"), 405, "MethodNotAllowed", "expected POST /, got GET"),
        (_event(), 415, "UnsupportedMediaType", "got 'none'"),
        (_event(content_type="image/png"), 400, "UndecodableImage", "expected"),
        (_event(body="hello", content_type="text/plain"), 415, "UnsupportedMediaType", "got 'text/plain'"),
        (_event(body="\ud800", content_type="application/json"), 400, "InvalidJson", "expected"),
        (
            _event(body="%%%", content_type="image/png") | {"isBase64Encoded": True},
            400,
            "BadRequest",
            "expected a base64 body, as isBase64Encoded is true, got '%%%'",
        ),
        ({}, 400, "BadRequest", "Application Load Balancer, got another one: version: Field required"),
        (None, 400, "BadRequest", "Application Load Balancer, got another one: event"),
        ([1], 400, "BadRequest", "Application Load Balancer, got another one: event"),
        (_event() | {"version": "1.0"}, 400, "BadRequest", "got another one: version: Input should be '2.0'"),
        (_event() | {"requestContext": {}}, 400, "BadRequest", "got another one: requestContext.http"),
    ],
)
def test_an_error_says_what_was_expected(service: Service, event: object, status: int, kind: str, message: str) -> None:
    got, body, _ = _answer(service, event)
    assert (got, body["error"]["type"]) == (status, kind)
    assert message in body["error"]["message"]
    assert "expected" in body["error"]["message"]


def test_without_a_request_id_the_invocation_id_is_used(service: Service) -> None:
    event = _event("GET", "/ping")
    del event["requestContext"]["requestId"]
    for asked in (event, {}):
        assert _answer(service, asked)[2]["x-request-id"] == "invocation-1"


def test_only_marked_requests_are_tests() -> None:
    asked: list[Request] = []

    class Asked(Service):
        def __init__(self) -> None:
            pass

        def predict(self, requests: Any) -> list[Response]:
            asked.extend(requests)
            return [Response(200, {})]

    for mark in ("a=1; driftserve-test=true", "driftserve-test=false", ""):
        _answer(Asked(), _event(x_amzn_sagemaker_custom_attributes=mark))
    assert [request.is_test for request in asked] == [True, False, False]


def test_an_unexpected_error_is_a_500_and_its_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Service):
        model_name = "broken/1"  # type: ignore[assignment]  # a property in Service

        def __init__(self) -> None:
            pass

        def predict(self, _: Any) -> list[Response]:
            raise ZeroDivisionError("what nobody thought of")

    status, body, _ = _answer(Broken(), _event())
    assert (status, body["error"]["type"]) == (500, "ModelError")
    assert "nobody" not in json.dumps(body)
    assert "ZeroDivisionError: what nobody thought of" in caplog.text


def test_importing_the_module_builds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRIFTSERVE_MODEL_DIR", str(tmp_path))
    importlib.reload(aws_lambda)
    assert not hasattr(aws_lambda, "handler")


def test_no_file_is_left_on_disk_after_the_model_is_loaded(
    service: Service, tmp_path: Path, generator: np.random.Generator
) -> None:
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert _answer(service, _event(body=encode(scene(generator)), content_type="image/png"))[0] == 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sinks": ("cloudwatch",)}, "DRIFTSERVE_SINKS: expected `emf` or `log`"),
        ({"record_dir": Path("/tmp/record")}, "DRIFTSERVE_RECORD_DIR: expected no directory"),  # noqa: S108
    ],
)
def test_unsupported_settings_are_refused(archive: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_function(Settings(model_dir=archive, **settings))
