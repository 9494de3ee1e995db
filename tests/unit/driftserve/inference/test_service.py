import base64
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.errors import ModelError
from driftserve.images.decode import ImageLimits
from driftserve.images.raster import to_raster
from driftserve.inference.classifier import MOST_IMAGES_AT_ONCE, Classifier, Item
from driftserve.inference.model import Model, ModelOutput, load_graph
from driftserve.inference.service import Request, RequestLimits, Response, Service
from driftserve.observations.observation import Observation
from sample_images import LABELS, encode, scene

RED, GREEN, BLUE = (
    np.zeros((40, 40, 3), np.uint8) + np.array(colour, np.uint8)
    for colour in ([220, 20, 20], [20, 220, 20], [20, 20, 220])
)
LIMITS = RequestLimits(max_bytes=20_000, max_instances=3, image=ImageLimits(pixels=10_000))


class FakeModel(Model):
    """Returns zero logits. An image with first value 1 gives NaN; first value 2 makes the whole batch fail."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def __call__(self, pixels: np.ndarray) -> ModelOutput:
        self.batch_sizes.append(len(pixels))
        if (pixels[:, 0, 0, 0] == 2).any():
            raise ModelError(f"boom on {pixels.shape}")
        logits = np.zeros((len(pixels), 3), np.float32)
        logits[pixels[:, 0, 0, 0] == 1] = np.nan
        return ModelOutput(logits, np.zeros((len(pixels), 3), np.float32))


DIVERGING, BREAKING = (encode(np.full((40, 40, 3), value, np.uint8)) for value in (1, 2))


@pytest.fixture
def seen() -> list[Observation]:
    return []


@pytest.fixture
def service(contract: Contract, graph_file: Path, seen: list[Observation]) -> Service:
    return Service(contract, load_graph(graph_file, contract.image_spec), seen.extend, LIMITS)


def _request(body: bytes, content_type: str = "image/png", is_test: bool = False) -> Request:
    return Request(body, content_type, "r-1", is_test)


def _instances(*bodies: bytes, is_test: bool = False) -> Request:
    instances = [{"b64": base64.b64encode(body).decode()} for body in bodies]
    return _request(json.dumps({"instances": instances}).encode(), "application/json", is_test)


def _types(response: Response) -> list[str]:
    predictions: Any = response.body["predictions"]
    return [answer["error"]["type"] if "error" in answer else answer["label"] for answer in predictions]


def test_an_image_is_answered_with_label_score_probabilities_model_and_request_id(service: Service) -> None:
    (response,) = service.predict([_request(encode(GREEN))])
    assert response.status == 200
    assert list(response.body) == ["label", "score", "probabilities", "model", "request_id"]
    assert response.body["label"] == "green"
    assert response.body["model"] == {"name": "tiny", "version": "7"}
    assert response.body["request_id"] == "r-1"
    probabilities: Any = response.body["probabilities"]
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
                _request(b"", "application/json"),
                _request(b"x" * 20_001),
                _request(good),
            ]
        )
    ]
    assert statuses == [200, 400, 415, 413, 400, 413, 200]


def test_an_error_has_type_and_message(service: Service) -> None:
    (response,) = service.predict([_request(b"garbage")])
    error: Any = response.body["error"]
    assert error["type"] == "UndecodableImage"
    assert "expected an image" in error["message"]


@pytest.mark.parametrize("content_type", ["image/png", "application/json", "text/plain"])
def test_a_body_beyond_the_limit_is_refused_for_every_content_type(service: Service, content_type: str) -> None:
    (response,) = service.predict([_request(b" " * 20_001, content_type)])
    assert response.status == 413
    assert response.body["error"] == {
        "type": "RequestTooLarge",
        "message": "expected a body of at most 20000 bytes, got 20001; send a smaller one",
    }


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "IMAGE/PNG", "image/webp; q=1", "application/x-image", "application/octet-stream"],
)
def test_the_documented_content_types_are_served(service: Service, content_type: str) -> None:
    assert service.predict([_request(encode(GREEN), content_type)])[0].status == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonlines", "imagejpeg", "image"])
def test_the_error_for_other_content_types_suggests_a_header(service: Service, content_type: str) -> None:
    (response,) = service.predict([_request(encode(GREEN), content_type)])
    assert response.status == 415
    assert "-H 'Content-Type: image/jpeg'" in str(response.body["error"])


def test_an_answer_does_not_depend_on_its_batch(service: Service, generator: np.random.Generator) -> None:
    requests = [_request(encode(scene(generator))) for _ in range(4)]
    together = service.predict(requests)
    assert together == [service.predict([request])[0] for request in requests]


def test_instances_are_answered_in_order_as_they_would_be_alone(service: Service) -> None:
    bodies = [encode(BLUE), encode(RED), encode(GREEN)]
    (response,) = service.predict([_instances(*bodies)])
    assert response.status == 200
    assert list(response.body) == ["predictions", "model", "request_id"]
    alone = service.predict([_request(body) for body in bodies])
    assert response.body["predictions"] == [
        {name: answer.body[name] for name in ("label", "score", "probabilities")} for answer in alone
    ]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_recognised_by_its_content_type(service: Service, content_type: str) -> None:
    assert service.predict([_request(_instances(encode(RED)).body, content_type)])[0].status == 200


def test_one_bad_instance_fails_alone(service: Service) -> None:
    request = _instances(encode(RED), b"garbage", encode(np.zeros((200, 200, 3), np.uint8)))
    (response,) = service.predict([request])
    assert response.status == 200
    assert "error" not in response.body
    assert _types(response) == ["red", "UndecodableImage", "ImageTooLarge"]


def test_if_every_instance_fails_the_response_is_the_first_error_and_lists_all(service: Service) -> None:
    (response,) = service.predict([_instances(encode(np.zeros((200, 200, 3), np.uint8)), b"garbage")])
    assert response.status == 413
    error: Any = response.body["error"]
    assert error["type"] == "ImageTooLarge"
    assert _types(response) == ["ImageTooLarge", "UndecodableImage"]
    assert response.body["request_id"] == "r-1"


def test_a_request_with_too_many_instances_is_refused_as_a_whole(service: Service, seen: list[Observation]) -> None:
    (response,) = service.predict([_instances(*[encode(RED)] * 4)])
    assert response.status == 413
    assert list(response.body) == ["error"]
    assert [observation.status for observation in seen] == [413]


def test_instances_are_refused_once_the_decoding_time_is_used_up(contract: Contract, graph_file: Path) -> None:
    limits = RequestLimits(max_decode_seconds=0.05)
    slow = encode(np.zeros((2000, 2000, 3), np.uint8))  # about 20 ms to decode
    service = Service(contract, load_graph(graph_file, contract.image_spec), None, limits)
    (response,) = service.predict([_instances(*[slow] * 30)])
    assert response.status == 200
    types = _types(response)
    assert types[0] in LABELS
    assert types[-1] == "RequestTooLarge"
    (response,) = service.predict([_instances(*[encode(GREEN)] * 3)])  # each request has its own time limit
    assert _types(response) == ["green"] * 3


def test_the_requests_of_a_batch_share_the_decoding_time_and_good_ones_are_answered(
    contract: Contract, graph_file: Path
) -> None:
    service = Service(
        contract, load_graph(graph_file, contract.image_spec), None, RequestLimits(max_decode_seconds=1.0)
    )
    slow = encode(np.zeros((2000, 2000, 3), np.uint8))  # about 20 ms to decode
    requests = [
        *[_instances(*[slow] * 60)] * 8,
        _request(slow),
        _instances(*[encode(GREEN)] * 3),
        _request(encode(GREEN)),
    ]
    began = time.thread_time()
    responses = service.predict(requests)
    assert time.thread_time() - began < 5  # 8 times 60 images take 10 s
    assert [response.status for response in responses] == [200] * 11
    for response in responses[:8]:
        assert _types(response)[0] in LABELS  # each request gets its share
        assert _types(response)[-1] == "RequestTooLarge"
    assert _types(responses[9]) == ["green"] * 3
    assert responses[10].body["label"] == "green"


def test_large_images_of_a_batch_wait_for_smaller_ones_and_are_refused_in_time(
    contract: Contract, graph_file: Path
) -> None:
    service = Service(
        contract, load_graph(graph_file, contract.image_spec), None, RequestLimits(max_decode_seconds=0.2)
    )
    slow = encode(np.zeros((2000, 2000, 3), np.uint8))
    responses = service.predict([*[_request(slow)] * 60, _request(encode(GREEN)), _request(b"garbage")])
    assert [response.status for response in responses[-2:]] == [200, 400]
    assert [response.status for response in responses[:60]] == sorted(response.status for response in responses[:60])
    assert responses[59].status == 413
    error: Any = responses[59].body["error"]
    assert error["message"] == (
        "expected the images of a batch to take at most 0.2 s of processor time to decode, but they take longer; "
        "send fewer or smaller images, or send this request again"
    )


def test_images_and_instances_of_a_server_batch_share_model_batches_of_limited_size(contract: Contract) -> None:
    model = FakeModel()
    service = Service(contract, model, None, RequestLimits(max_instances=50))
    body = encode(GREEN)
    responses = service.predict([_request(body), _instances(*[body] * 50), _request(b"bad"), _instances(*[body] * 19)])
    assert model.batch_sizes == [MOST_IMAGES_AT_ONCE, MOST_IMAGES_AT_ONCE, 6]
    assert [response.status for response in responses] == [200, 200, 400, 200]


def test_an_image_that_the_model_fails_on_fails_alone(contract: Contract, seen: list[Observation]) -> None:
    service = Service(contract, FakeModel(), seen.extend, RequestLimits())
    bodies = [encode(GREEN)] * 40
    bodies[3] = BREAKING
    (response,) = service.predict([_instances(*bodies)])
    assert response.status == 200
    assert _types(response) == ["red"] * 3 + ["ModelError"] + ["red"] * 36
    assert [observation.status for observation in seen] == [200] * 3 + [500] + [200] * 36


def test_a_prediction_of_nan_is_a_500_and_enters_no_window(contract: Contract, seen: list[Observation]) -> None:
    service = Service(contract, FakeModel(), seen.extend, LIMITS)
    responses = service.predict([_request(DIVERGING), _request(encode(GREEN)), _instances(DIVERGING, encode(GREEN))])
    assert [response.status for response in responses] == [500, 200, 200]
    assert _types(responses[2]) == ["ModelError", "red"]
    assert [observation.features is None for observation in seen] == [True, False, True, False]


def test_a_failing_model_answers_500_and_bad_requests_keep_their_400(
    contract: Contract, seen: list[Observation]
) -> None:
    service = Service(contract, FakeModel(), seen.extend, LIMITS)
    good, bad = service.predict([_request(BREAKING), _request(b"garbage")])
    assert (good.status, bad.status) == (500, 400)
    assert good.body["error"]["type"] == "ModelError"  # type: ignore[index]
    assert [observation.status for observation in seen] == [500, 400]


def test_an_observation_has_features_class_confidence_status_and_latency(
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


def test_each_instance_is_one_observation_and_unreadable_json_is_one(service: Service, seen: list[Observation]) -> None:
    service.predict([_instances(encode(RED), b"garbage", encode(BLUE)), _request(b"{}", "application/json")])
    assert [(observation.status, observation.label) for observation in seen] == [
        (200, "red"),
        (400, None),
        (200, "blue"),
        (400, None),
    ]


def test_features_do_not_depend_on_other_images_in_the_batch(service: Service, seen: list[Observation]) -> None:
    service.predict([_request(encode(RED)), _request(encode(GREEN), is_test=True), _request(encode(BLUE))])
    service.predict([_request(encode(RED)), _request(encode(BLUE))])
    first, test, second, *alone = [observation.features for observation in seen]
    assert test is None
    assert [first, second] == alone


def test_a_test_request_is_answered_and_counted_but_not_monitored(service: Service, seen: list[Observation]) -> None:
    responses = service.predict([_request(encode(GREEN), is_test=True), _instances(encode(RED), b"x", is_test=True)])
    assert [response.status for response in responses] == [200, 200]
    assert [(observation.status, observation.is_test) for observation in seen] == [
        (200, True),
        (200, True),
        (400, True),
    ]
    assert {(observation.features, observation.image_id) for observation in seen} == {(None, None)}


def test_the_same_bytes_get_the_same_image_id_in_any_request(service: Service, seen: list[Observation]) -> None:
    service.predict([_request(encode(RED)), _instances(encode(GREEN), encode(RED))])
    first, other, again = (observation.image_id for observation in seen)
    assert first == again != other


def test_features_are_computed_only_for_monitored_images(contract: Contract) -> None:
    raster = to_raster(np.zeros((40, 40, 3), np.uint8))
    pixels = np.zeros((1, 3, 32, 32), np.uint8)
    read = [Item(True, pixels=pixels, raster=raster), Item(False, pixels=pixels)]
    watched, unwatched = Classifier(contract, FakeModel()).classify(read)
    assert all(item.prediction is None for item in read)  # a stage does not change its input
    assert watched.features is not None
    assert (unwatched.status, unwatched.features) == (200, None)


def test_monitor_errors_fail_no_request(contract: Contract, graph_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: tuple[Observation, ...]) -> None:
        raise RuntimeError("the monitor's fault")

    service = Service(contract, load_graph(graph_file, contract.image_spec), broken, LIMITS)
    assert service.predict([_request(encode(GREEN))])[0].status == 200
    assert "the monitor's fault" in caplog.text


def test_the_tallest_and_the_widest_image_are_answered(contract: Contract, graph_file: Path) -> None:
    service = Service(contract, load_graph(graph_file, contract.image_spec), None, RequestLimits())
    bodies = [encode(np.zeros(shape, np.uint8)) for shape in ((16_384, 1, 3), (1, 16_384, 3), (1, 1, 3))]
    assert [response.status for response in service.predict([_request(body) for body in bodies])] == [200] * 3


@pytest.mark.parametrize(
    ("body", "level"), [(encode(GREEN), "DEBUG"), (b"garbage", "INFO"), (DIVERGING, "ERROR")], ids=["200", "400", "500"]
)
def test_an_answer_is_one_log_line_at_the_level_of_its_status(
    contract: Contract, caplog: pytest.LogCaptureFixture, body: bytes, level: str
) -> None:
    caplog.set_level(logging.DEBUG, "driftserve")
    Service(contract, FakeModel(), None, LIMITS).predict([_request(body)])
    (record,) = caplog.records
    assert record.levelname == level
    assert record.name == "driftserve.inference.service"
    assert (record.request_id, record.model) == ("r-1", "tiny/7")  # type: ignore[attr-defined]
    assert record.getMessage().startswith("answered ")
    assert ("expected an image" in record.getMessage()) == (level == "INFO")


def test_responses_below_the_log_level_are_not_logged(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "driftserve")
    Service(contract, FakeModel(), None, LIMITS).predict([_request(encode(GREEN))])
    assert caplog.records == []
