"""Test the AWS Lambda adapter with the documented events of every service that can invoke a function."""

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awslambdaric.lambda_context import LambdaContext
from hypothesis import given
from hypothesis import strategies as st

from driftserve.adapters import aws_lambda
from driftserve.archive.contract import Contract
from driftserve.images.decode import ImageLimits
from driftserve.inference.model import load_graph
from driftserve.inference.service import Request, RequestLimits, Response, Service
from lambda_events import EVENTS, HEALTH_CHECK, LOAD_BALANCER, LOAD_BALANCER_MULTI, REST_API, changed
from sample_images import encode

CONTEXT = LambdaContext("invocation-1", None, None, "0", "arn:aws:lambda:eu-central-1:123456789012:function:f")
BLUE = np.zeros((50, 70, 3), np.uint8) + np.array([10, 10, 200], np.uint8)
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
INSTANCES = json.dumps({"instances": [{"b64": base64.b64encode(encode(BLUE)).decode()}]})
LOST = encode(BLUE).decode(errors="replace")  # what a gateway makes of an image that it passes on as text

each_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())


@pytest.fixture(scope="module")
def service(contract: Contract, graph_file: Path) -> Service:
    limits = RequestLimits(max_bytes=200_000, max_instances=3, image=ImageLimits(pixels=1_000_000))
    return Service(contract, load_graph(graph_file, contract.image_spec), None, limits)


def _answer(service: Service, event: object) -> tuple[int, dict[str, Any]]:
    result: Any = json.loads(json.dumps(aws_lambda.answer(service, event, CONTEXT)))
    assert result["isBase64Encoded"] is False
    return result["statusCode"], json.loads(result["body"])


@each_event
def test_the_request_of_every_service_is_answered(service: Service, event: Mapping[str, Any]) -> None:
    status, answer = _answer(service, changed(event, "/invocations", encode(BLUE), PNG))
    assert (status, answer["label"]) == (200, "blue")
    assert answer["request_id"] == ("invocation-1" if "elb" in event["requestContext"] else "request-1")
    for body in (INSTANCES, INSTANCES.encode()):
        status, answer = _answer(service, changed(event, "/invocations", body, JSON))
        assert (status, answer["predictions"][0]["label"]) == (200, "blue")
    assert _answer(service, changed(event, "/ping", method="GET")) == (200, {"status": "Healthy"})
    assert _answer(service, changed(event, "/invocations", method="GET"))[0] == 405
    assert _answer(service, changed(event, "/invocations"))[0] == 415


@each_event
@pytest.mark.parametrize(
    "path",
    [
        "/prod/invocations",
        "/testStage/invocations",
        "/base/path/invocations",  # of a domain of one's own
        "/base/prod/invocations/",
        "//invocations",
        "/",
    ],
)
def test_what_comes_before_the_last_part_of_the_path_is_ignored(
    service: Service, event: Mapping[str, Any], path: str
) -> None:
    assert _answer(service, changed(event, path, encode(BLUE), PNG))[0] == 200


@each_event
def test_the_name_of_the_stage_alone_is_the_root(service: Service, event: Mapping[str, Any]) -> None:
    stage = event["requestContext"].get("stage", "other")
    for path in (f"/{stage}", f"/{stage}/"):
        status, _ = _answer(service, changed(event, path, encode(BLUE), PNG))
        assert status == (404 if stage == "other" else 200)


@each_event
@pytest.mark.parametrize(
    "path", ["/models", "/stage", "/ping/x", "/invocations2", "/x/", "invocations/x", "/Invocations"]
)
def test_another_path_is_not_found(service: Service, event: Mapping[str, Any], path: str) -> None:
    status, answer = _answer(service, changed(event, path, encode(BLUE), PNG))
    assert (status, answer["error"]["type"]) == (404, "NotFound")
    assert "expected the path /, or one that ends with /invocations or /ping, got" in answer["error"]["message"]


@each_event
@pytest.mark.parametrize("body", [LOST, base64.b64encode(encode(BLUE)).decode(), encode(BLUE).decode("latin-1")])
def test_an_image_that_is_not_marked_as_base64_is_refused_with_the_setting_to_change(
    service: Service, event: Mapping[str, Any], body: str
) -> None:
    status, answer = _answer(service, changed(event, "/invocations", body, PNG))
    assert (status, answer["error"]["type"]) == (400, "UndecodableImage")
    assert "isBase64Encoded is false" in answer["error"]["message"]
    assert "binaryMediaTypes" in answer["error"]["message"]


def test_other_bad_bodies_are_refused_without_that_setting(service: Service) -> None:
    for body, headers in ((b"no image", PNG), ('{"instances": [{"b64": "eA=="}]}', JSON), ("hello", JSON), ("", PNG)):
        status, answer = _answer(service, changed(REST_API, "/invocations", body, headers))
        assert status == 400
        assert "binaryMediaTypes" not in answer["error"]["message"]


@each_event
@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
def test_the_case_of_a_header_does_not_matter(service: Service, event: Mapping[str, Any], name: str) -> None:
    assert _answer(service, changed(event, "/invocations", encode(BLUE), {name: "image/png"}))[0] == 200


@each_event
def test_a_packed_body_is_unpacked(service: Service, event: Mapping[str, Any]) -> None:
    for body, headers in ((encode(BLUE), PNG), (INSTANCES.encode(), JSON)):
        packed = changed(event, "/invocations", gzip.compress(body), headers | {"Content-Encoding": "gzip"})
        assert _answer(service, packed)[0] == 200


def test_a_body_that_a_rest_api_has_unpacked_is_not_unpacked_again(service: Service) -> None:
    # It leaves the header: https://github.com/dougmoscrop/serverless-http/issues/194
    for coding in ("gzip", "deflate"):
        for body, headers in ((encode(BLUE), PNG), (INSTANCES, JSON), (INSTANCES.encode(), JSON)):
            event = changed(REST_API, "/invocations", body, headers | {"Content-Encoding": coding})
            assert _answer(service, event)[0] == 200


@each_event
def test_a_packed_body_that_was_passed_on_as_text_is_refused_with_the_setting_to_change(
    service: Service, event: Mapping[str, Any]
) -> None:
    lost = gzip.compress(INSTANCES.encode()).decode(errors="replace")
    status, answer = _answer(service, changed(event, "/", lost, JSON | {"Content-Encoding": "gzip"}))
    assert (status, answer["error"]["type"]) == (400, "InvalidJson")
    assert "binaryMediaTypes" in answer["error"]["message"]


def test_a_header_that_was_sent_twice_has_both_values() -> None:
    event = changed(LOAD_BALANCER_MULTI, "/invocations", b"x", {})
    event["multiValueHeaders"] = {
        "x-amzn-sagemaker-custom-attributes": ["a=1", "driftserve-test=true"],
        "Content-Encoding": ["gzip"],
        "content-encoding": ["br"],
    }
    (request,) = _asked(event)
    assert (request.is_test, request.content_encoding) == (True, "gzip, br")


def _asked(event: object) -> list[Request]:
    asked: list[Request] = []

    class Asked(Service):
        def __init__(self) -> None:
            pass

        def predict(self, requests: Any) -> list[Response]:
            asked.extend(requests)
            return [Response(200, {})]

    _answer(Asked(), event)
    return asked


def test_a_load_balancer_gets_its_own_format(service: Service) -> None:
    for event, here, missing in (
        (LOAD_BALANCER, "headers", "multiValueHeaders"),
        (LOAD_BALANCER_MULTI, "multiValueHeaders", "headers"),
    ):
        result: Any = aws_lambda.answer(service, changed(event, "/nowhere"), CONTEXT)
        assert (result["statusCode"], result["statusDescription"]) == (404, "404 Not Found")
        assert missing not in result
        kind = result[here]["content-type"]
        assert kind == ("application/json" if here == "headers" else ["application/json"])


def test_a_health_check_of_a_load_balancer_needs_its_path(service: Service) -> None:
    status, answer = _answer(service, HEALTH_CHECK)
    assert status == 405
    assert "health checks are GET /ping" in answer["error"]["message"]
    assert _answer(service, dict(HEALTH_CHECK) | {"path": "/ping"})[0] == 200


def test_the_nulls_of_a_console_test_are_no_headers_and_no_body(service: Service) -> None:
    event = changed(REST_API, "/invocations") | {"headers": None, "multiValueHeaders": None, "requestContext": {}}
    status, answer = _answer(service, event)
    assert (status, answer["request_id"] if "request_id" in answer else answer["error"]["type"]) == (
        415,
        "UnsupportedMediaType",
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
HEADER_NAMES = st.sampled_from(["Content-Type", "content-type", "Content-Encoding", "CONTENT-ENCODING"]) | st.text(
    max_size=6
)
HEADERS = st.dictionaries(
    HEADER_NAMES,
    st.sampled_from(["image/png", "application/json", "gzip", "deflate", "identity", ""]) | st.text(max_size=6),
    max_size=4,
)
BODIES = st.sampled_from([encode(BLUE), gzip.compress(encode(BLUE)), INSTANCES, INSTANCES.encode(), LOST, "", None])
PATHS = st.sampled_from(["/invocations", "/ping", "/prod/invocations", "/prod", "/"]) | st.text(max_size=8)
METHODS = st.sampled_from(["GET", "POST"]) | st.text(max_size=4)


@pytest.mark.fuzz
@given(
    st.sampled_from(list(EVENTS.values())),
    PATHS,
    BODIES | st.binary(max_size=40) | st.text(max_size=40),
    HEADERS,
    METHODS,
)
def test_any_request_of_every_service_is_answered(
    service: Service,
    event: Mapping[str, Any],
    path: str,
    body: bytes | str | None,
    headers: Mapping[str, str],
    method: str,
) -> None:
    status, answer = _answer(service, changed(event, path, body, headers, method))
    assert status in (200, 400, 404, 405, 413, 415)
    assert status == 200 or answer["error"]["message"].startswith("expected ")


@pytest.mark.fuzz
@given(st.sampled_from(list(EVENTS.values())), st.data())
def test_an_event_with_any_other_value_is_answered(
    service: Service, event: Mapping[str, Any], data: st.DataObject
) -> None:
    new = changed(event, "/invocations", encode(BLUE), PNG)
    place = data.draw(st.sampled_from(sorted(new)))
    if data.draw(st.booleans()):
        del new[place]
    else:
        new[place] = data.draw(VALUES)
    status, answer = _answer(service, data.draw(st.just(new) | VALUES))
    assert status in (200, 400, 404, 405, 413, 415)
    assert status == 200 or answer["error"]["message"].startswith("expected ")
