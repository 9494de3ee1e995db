from pathlib import Path

import numpy as np
import pytest

from driftserve.contract import Contract
from driftserve.errors import ModelError
from driftserve.model import Model, ModelOutput
from driftserve.observation import Observation
from driftserve.service import Request, Service
from images import LABELS, encode, scene

GREEN = np.zeros((40, 40, 3), np.uint8) + np.array([20, 220, 20], np.uint8)


@pytest.fixture
def seen() -> list[Observation]:
    return []


@pytest.fixture
def service(contract: Contract, graph_file: Path, seen: list[Observation]) -> Service:
    return Service(contract, Model(graph_file, 32, 32), seen.extend, max_image_pixels=10_000)


def _request(body: bytes, content_type: str = "image/png", is_test: bool = False) -> Request:
    return Request(body, content_type, "r-1", is_test)


def test_an_image_is_answered_with_label_score_probabilities_model_and_request_id(service: Service) -> None:
    (response,) = service.predict([_request(encode(GREEN))])
    assert response.status == 200
    assert list(response.body) == ["label", "score", "probabilities", "model", "request_id"]
    assert response.body["label"] == "green"
    assert response.body["model"] == {"name": "tiny", "version": "7"}
    assert response.body["request_id"] == "r-1"
    probabilities = response.body["probabilities"]
    assert list(probabilities) == list(LABELS)
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert response.body["score"] == max(probabilities.values())


def test_one_bad_image_fails_alone(service: Service, generator: np.random.Generator) -> None:
    good = encode(scene(generator))
    statuses = [
        response.status
        for response in service.predict(
            [
                _request(good),
                _request(b"garbage"),
                _request(good, "text/plain"),
                _request(encode(np.zeros((200, 200, 3), np.uint8))),
                _request(good),
            ]
        )
    ]
    assert statuses == [200, 400, 415, 413, 200]


def test_an_error_has_type_and_message(service: Service) -> None:
    (response,) = service.predict([_request(b"garbage")])
    assert response.body["error"]["type"] == "UndecodableImage"
    assert "expected an image" in response.body["error"]["message"]


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "IMAGE/PNG", "image/webp; q=1", "application/x-image", "application/octet-stream"],
)
def test_the_documented_content_types_are_served(service: Service, content_type: str) -> None:
    assert service.predict([_request(encode(GREEN), content_type)])[0].status == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "imagejpeg"])
def test_other_content_types_are_refused_with_advice(service: Service, content_type: str) -> None:
    (response,) = service.predict([_request(encode(GREEN), content_type)])
    assert response.status == 415
    assert "-H 'Content-Type: image/jpeg'" in response.body["error"]["message"]


def test_an_answer_does_not_depend_on_its_batch(service: Service, generator: np.random.Generator) -> None:
    requests = [_request(encode(scene(generator))) for _ in range(4)]
    together = service.predict(requests)
    assert together == [service.predict([request])[0] for request in requests]


def test_what_is_observed_are_features_class_confidence_status_and_latency(
    service: Service, seen: list[Observation], contract: Contract
) -> None:
    service.predict([_request(encode(GREEN)), _request(b"garbage")])
    good, bad = seen
    assert (good.status, good.label) == (200, "green")
    assert good.features is not None
    assert len(good.features) == len(contract.feature_names)
    assert set(good.latency_ms) == {"decode", "preprocess", "model", "total"}
    assert (bad.status, bad.label, bad.features) == (400, None, None)
    assert set(bad.latency_ms) == {"decode", "total"}


def test_a_test_is_answered_but_not_observed(service: Service, seen: list[Observation]) -> None:
    (response,) = service.predict([_request(encode(GREEN), is_test=True)])
    assert response.status == 200
    assert seen == []


def test_watching_never_breaks_serving(contract: Contract, graph_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: tuple[Observation, ...]) -> None:
        raise RuntimeError("the monitor's fault")

    service = Service(contract, Model(graph_file, 32, 32), broken, max_image_pixels=10_000)
    assert service.predict([_request(encode(GREEN))])[0].status == 200
    assert "the monitor's fault" in caplog.text


def test_an_answer_that_is_no_number_is_a_500_and_enters_no_window(contract: Contract, seen: list[Observation]) -> None:
    class FakeDivergedModel(Model):
        def __init__(self) -> None:
            pass

        def __call__(self, pixels: np.ndarray) -> ModelOutput:
            logits = np.zeros((len(pixels), 3), np.float32)
            logits[0] = np.nan
            return ModelOutput(logits, np.zeros((len(pixels), 3), np.float32))

    service = Service(contract, FakeDivergedModel(), seen.extend, max_image_pixels=10_000)
    responses = service.predict([_request(encode(GREEN))] * 2)
    assert [response.status for response in responses] == [500, 200]
    assert [observation.features is None for observation in seen] == [True, False]


def test_a_model_that_fails_answers_500_and_says_no_more(contract: Contract, seen: list[Observation]) -> None:
    class FakeBrokenModel(Model):
        def __init__(self) -> None:
            pass

        def __call__(self, pixels: np.ndarray) -> ModelOutput:
            raise ModelError(f"boom on {pixels.shape}")

    service = Service(contract, FakeBrokenModel(), seen.extend, max_image_pixels=10_000)
    good, bad = service.predict([_request(encode(GREEN)), _request(b"garbage")])
    assert (good.status, bad.status) == (500, 400)
    assert good.body["error"]["type"] == "ModelError"
    assert [observation.status for observation in seen] == [500, 400]
