"""The smoke suite for any endpoint.

pytest tests/endpoint                                                        two local servers with a tiny archive
pytest tests/endpoint --endpoint-url http://127.0.0.1:8080 --archive FILE    a server, a container, a Lambda function
pytest tests/endpoint --sagemaker-endpoint NAME --archive FILE               a SageMaker endpoint
"""

import base64
import json
import statistics
import time

import numpy as np
import pytest

from driftserve.archive.contract import GoldenImage
from driftserve.archive.golden import golden_mismatch
from endpoint_clients import Answer, AnyEndpoint, Expected, HttpEndpoint
from sample_images import encode, scene

IMAGE = encode(scene(np.random.default_rng(11)))


def _golden(expected: Expected) -> list[tuple[GoldenImage, bytes]]:
    return [(golden, (expected.directory / golden.file).read_bytes()) for golden in expected.contract.golden]


def _json(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()


def _assert_documented_schema(answer: Answer) -> None:
    """Assert that the response is a prediction with the schema of the README."""
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/json"
    body = answer.json()
    assert set(body) == {"label", "score", "probabilities", "model", "request_id"}
    assert set(body["model"]) == {"name", "version"}
    assert sum(body["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)
    assert body["score"] == max(body["probabilities"].values()) == body["probabilities"][body["label"]]
    assert body["request_id"]


def test_a_ping_is_answered(endpoint: AnyEndpoint) -> None:
    if not isinstance(endpoint, HttpEndpoint):
        pytest.skip("SageMaker does not expose /ping")
    assert endpoint.ping().status == 200


def test_a_prediction_has_the_documented_schema(endpoint: AnyEndpoint) -> None:
    for content_type in ("image/png", "application/x-image", "application/octet-stream"):
        _assert_documented_schema(endpoint.invoke(IMAGE, content_type))


def test_golden_images_get_the_predictions_in_the_contract(endpoint: AnyEndpoint, expected: Expected) -> None:
    for golden, image in _golden(expected):
        answer = endpoint.invoke(image, "image/png")
        _assert_documented_schema(answer)
        assert answer.json()["label"] == golden.label
        assert golden_mismatch(golden, expected.contract.labels, answer.json()["probabilities"]) is None
        assert answer.json()["model"] == {"name": expected.contract.name, "version": expected.contract.version}


def test_json_instances_are_answered_in_order_and_a_bad_one_fails_alone(endpoint: AnyEndpoint) -> None:
    other = encode(scene(np.random.default_rng(12)), "JPEG")
    alone = [endpoint.invoke(image, "image/*").json()["probabilities"] for image in (IMAGE, other)]
    answer = endpoint.invoke(_json(IMAGE, b"garbage", other), "application/json")
    assert answer.status == 200
    first, bad, last = answer.json()["predictions"]
    assert first["probabilities"] == pytest.approx(alone[0], abs=1e-6)
    assert last["probabilities"] == pytest.approx(alone[1], abs=1e-6)
    assert bad["error"]["type"] == "UndecodableImage"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"", "image/png", 400, "UndecodableImage"),
        (b"garbage", "image/jpeg", 400, "UndecodableImage"),
        (IMAGE[:-30], "image/png", 400, "UndecodableImage"),
        (encode(np.zeros((1, 17_000, 3), np.uint8)), "image/png", 413, "ImageTooLarge"),
        (b"hello", "text/plain", 415, "UnsupportedMediaType"),
        (b"{", "application/json", 400, "InvalidJson"),
        (b'{"instances": []}', "application/json", 400, "InvalidJson"),
        (b'{"instances": [{"b64": "%%"}]}', "application/json", 400, "InvalidJson"),
        (_json(b"garbage"), "application/json", 400, "UndecodableImage"),
        (_json(*[b"x"] * 65), "application/json", 413, "RequestTooLarge"),
    ],
)
def test_bad_input_gets_its_status_and_the_next_request_succeeds(
    endpoint: AnyEndpoint, body: bytes, content_type: str, status: int, kind: str
) -> None:
    answer = endpoint.invoke(body, content_type)
    assert (answer.status, answer.json()["error"]["type"]) == (status, kind)
    assert "expected" in answer.json()["error"]["message"]
    _assert_documented_schema(endpoint.invoke(IMAGE, "image/png"))


def test_the_latency_is_within_the_budget(endpoint: AnyEndpoint, latency_budget_ms: float) -> None:
    milliseconds = []
    for _ in range(21):
        started = time.perf_counter()
        assert endpoint.invoke(IMAGE, "image/png").status == 200
        milliseconds.append((time.perf_counter() - started) * 1000)
    assert statistics.median(milliseconds) <= latency_budget_ms
