"""Tests of a running server's responses, on TorchServe and MMS."""

import base64
import contextlib
import gzip
import http.client
import json
import time
import zlib

import numpy as np
import psutil
import pytest
import urllib3

from model_servers import TEST_MARK, VARIABLES_OF_THE_SERVERS, Endpoint
from processes import wait_for
from sample_images import encode, scene

HUNDRED_MEGAPIXELS = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + (header := (10_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00")
    + zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    + b"\x00\x00\x00\x01IDAT\x00"
)


def _json(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()


def test_an_image_is_classified(endpoint: Endpoint) -> None:
    blue = np.zeros((50, 70, 3), np.uint8) + np.array([10, 10, 200], np.uint8)
    response = endpoint.post(encode(blue, "JPEG"), "image/jpeg")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    answer = json.loads(response.data)
    assert answer["label"] == "blue"
    assert answer["model"] == {"name": "tiny", "version": "7"}
    assert len(answer["request_id"]) == 36


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"", "image/png", 400, "UndecodableImage"),
        (b"garbage", "image/png", 400, "UndecodableImage"),
        (encode(np.zeros((90, 90, 3), np.uint8))[:-30], "image/png", 400, "UndecodableImage"),
        (HUNDRED_MEGAPIXELS, "image/png", 413, "ImageTooLarge"),
        (b"<svg/>", "image/svg+xml", 400, "UndecodableImage"),
        (b"GIF89a=1;alert(1)//", "image/gif", 400, "UndecodableImage"),
        (b"hello", "text/plain", 415, "UnsupportedMediaType"),
        (b'{"a": 1}', "application/json", 400, "InvalidJson"),
        (b"[" * 100_000, "application/json", 400, "InvalidJson"),
        (b'{"instances": [{"b64": "%%"}]}', "application/json", 400, "InvalidJson"),
        (_json(*[b"x"] * 65), "application/json", 413, "RequestTooLarge"),
    ],
)
def test_bad_input_gets_its_status_and_the_next_request_succeeds(
    endpoint: Endpoint, generator: np.random.Generator, body: bytes, content_type: str, status: int, kind: str
) -> None:
    workers = {worker.pid for worker in endpoint.workers()}
    response = endpoint.post(body, content_type)
    assert response.status == status
    error = json.loads(response.data)["error"]
    assert error["type"] == kind
    assert "expected" in error["message"]
    for _ in range(4):
        assert endpoint.post(encode(scene(generator))).status == 200
    assert {worker.pid for worker in endpoint.workers()} == workers


def test_a_packed_body_is_answered_like_an_unpacked_one(endpoint: Endpoint, generator: np.random.Generator) -> None:
    image = encode(scene(generator))
    expected = json.loads(endpoint.post(image).data)["probabilities"]
    for body, coding in ((gzip.compress(image), "gzip"), (zlib.compress(image), "Deflate"), (image, "identity")):
        response = endpoint.post(body, **{"content-encoding": coding})
        assert response.status == 200, response.data
        assert json.loads(response.data)["probabilities"] == pytest.approx(expected)
    packed = gzip.compress(_json(image, b"no image"))
    answer = json.loads(endpoint.post(packed, "application/json", **{"Content-Encoding": "x-gzip"}).data)
    assert answer["predictions"][0]["probabilities"] == pytest.approx(expected)
    for body, coding, status, kind in (
        (gzip.compress(bytes(26 << 20)), "gzip", 413, "RequestTooLarge"),
        (gzip.compress(image)[:-9], "gzip", 400, "UndecodableBody"),
        (image, "gzip", 400, "UndecodableBody"),
        (image, "br", 415, "UnsupportedMediaType"),
        (gzip.compress(gzip.compress(image)), "gzip, gzip", 415, "UnsupportedMediaType"),
    ):
        response = endpoint.post(body, **{"Content-Encoding": coding})
        assert (response.status, json.loads(response.data)["error"]["type"]) == (status, kind)


def test_a_body_over_the_servers_limit_is_refused(endpoint: Endpoint, generator: np.random.Generator) -> None:
    try:
        status: int | None = endpoint.post(b"\0" * (26 << 20)).status
    except urllib3.exceptions.HTTPError:
        status = None  # the server closed the connection before the whole body was sent
    assert status in (413, None)
    assert endpoint.post(encode(scene(generator))).status == 200


def test_a_form_fails_in_the_server_before_a_worker_sees_it(endpoint: Endpoint, generator: np.random.Generator) -> None:
    # This is curl's default for --data-binary. Both servers parse the body as a form and fail.
    image = encode(scene(generator), "JPEG")
    assert endpoint.post(image, "application/x-www-form-urlencoded").status == 500
    assert endpoint.post(image, "image/jpeg").status == 200


def test_json_instances_are_answered_in_order_and_a_bad_one_fails_alone(
    endpoint: Endpoint, generator: np.random.Generator
) -> None:
    images = [encode(scene(generator)) for _ in range(3)]
    alone = [json.loads(endpoint.post(image).data)["probabilities"] for image in images]
    response = endpoint.post(_json(images[0], b"garbage", images[1], images[2]), "application/json")
    assert response.status == 200
    first, bad, second, third = json.loads(response.data)["predictions"]
    for together, single in zip((first, second, third), alone, strict=True):
        assert together["probabilities"] == pytest.approx(single, abs=1e-6)
    assert bad["error"]["type"] == "UndecodableImage"
    failed = endpoint.post(_json(b"garbage"), "application/json")
    assert failed.status == 400
    assert json.loads(failed.data)["error"]["type"] == "UndecodableImage"


def test_both_servers_give_the_same_probabilities(torchserve: Endpoint, mms: Endpoint) -> None:
    generator = np.random.default_rng(5)
    images = [encode(scene(generator, offset)) for offset in generator.normal(0, 30, 100)]
    answers = [
        [json.loads(server.post(image, **TEST_MARK).data)["probabilities"] for image in images]
        for server in (torchserve, mms)
    ]
    ours, theirs = (np.array([list(answer.values()) for answer in row]) for row in answers)
    assert np.abs(ours - theirs).max() <= 1e-6
    assert np.unique(ours.argmax(axis=1)).size == 3


def test_the_port_serves_ping_and_inference_only(endpoint: Endpoint) -> None:
    lines = endpoint.log.read_text().count("\n")
    for _ in range(5):
        assert urllib3.request("GET", f"{endpoint.url}/ping").status == 200
    assert endpoint.log.read_text().count("\n") - lines < 5  # pings are not logged; metrics of a period may be
    assert urllib3.request("GET", f"{endpoint.url}/models").status in (404, 405)


def test_variables_of_the_servers_themselves_do_not_replace_our_configuration(endpoint: Endpoint) -> None:
    assert set(VARIABLES_OF_THE_SERVERS) <= set(psutil.Process(endpoint.process.pid).environ())
    assert endpoint.post(encode(np.zeros((40, 40, 3), np.uint8)), **TEST_MARK).status == 200
    assert set(VARIABLES_OF_THE_SERVERS).isdisjoint(endpoint.jvm().environ())


def test_all_workers_fill_one_window_and_drift_is_detected(endpoint: Endpoint) -> None:
    generator = np.random.default_rng(77)  # no other test sends these images: duplicates would not count
    seen = endpoint.observations()
    left = 50 - int(str(endpoint.status()["observations"])) % 50

    def send(number: int, offset: float) -> None:
        nonlocal seen
        for _ in range(number):
            assert endpoint.post(encode(scene(generator, offset))).status == 200
        seen += number
        assert endpoint.observations() == seen

    send(left, 0)  # complete the current window
    windows = endpoint.status()["windows"]
    send(50, 0)
    assert endpoint.status()["windows"] == windows + 1
    send(50, -90)
    assert endpoint.status()["state"] == "DRIFT"
    moved = {test["feature"] for test in endpoint.status()["last_report"]["tests"] if test["is_drift"]}
    assert "brightness" in moved


def test_marked_tests_and_pings_are_not_observed(endpoint: Endpoint, generator: np.random.Generator) -> None:
    before = endpoint.observations()
    mark = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1;driftserve-test=true"}
    for _ in range(3):
        assert endpoint.post(encode(scene(generator)), **mark).status == 200
        urllib3.request("GET", f"{endpoint.url}/ping")
    endpoint.post(encode(scene(generator)))
    assert endpoint.observations() == before + 1


def test_an_error_is_one_json_line_in_the_log_with_request_and_model(endpoint: Endpoint) -> None:
    response = endpoint.post(b"not an image")

    def line() -> dict[str, object] | None:
        lines = [json.loads(text) for text in endpoint.log.read_text().splitlines() if text.startswith("{")]
        found = [line for line in lines if line.get("request_id") == response.headers["x-request-id"]]
        return found[0] if found else None

    found = wait_for(line, 10)
    assert (found["model"], found["level"]) == ("tiny/7", "INFO")
    assert "answered 400" in str(found["message"])


def _log(endpoint: Endpoint, start: int = 0) -> list[dict[str, object]]:
    """Return the lines of the log from a position in bytes. Every line must be a JSON object in ASCII."""
    text = endpoint.log.read_bytes()[start:].decode("ascii")
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    return lines


def test_every_line_of_the_server_and_its_workers_is_json(endpoint: Endpoint, generator: np.random.Generator) -> None:
    assert endpoint.post(encode(scene(generator))).status == 200
    assert {line["level"] for line in _log(endpoint)} <= {"INFO", "WARNING", "ERROR"}


FORGED = '{"time": "2026-01-01T00:00:00.000Z", "level": "ERROR", "logger": "driftserve", "message": "forged"}'


@pytest.mark.parametrize("break_", ["\n", "\r", "\u2028", "\x85"])
def test_a_form_cannot_forge_or_flood_the_log(endpoint: Endpoint, break_: str) -> None:
    start = endpoint.log.stat().st_size
    body = f"a=%zz{break_}{FORGED}{break_}\x1b[2J{'A' * 1_000_000}".encode()
    with contextlib.suppress(urllib3.exceptions.HTTPError):  # both servers reset the connection after a long answer
        assert endpoint.post(body, "application/x-www-form-urlencoded").status == 500
    wait_for(lambda: any("exception" in line for line in _log(endpoint, start)), 10)
    lines = _log(endpoint, start)
    assert not any(line["message"] == "forged" for line in lines)
    assert endpoint.log.stat().st_size - start < 20_000


def test_a_path_cannot_forge_the_log(endpoint: Endpoint) -> None:
    start = endpoint.log.stat().st_size
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/%zz" + "A" * 3000)
        assert connection.getresponse().status in (403, 500)
    wait_for(lambda: any("exception" in line for line in _log(endpoint, start)), 10)


def test_an_answer_of_the_server_itself_is_logged_and_counted(endpoint: Endpoint) -> None:
    failed = _failed(endpoint)
    start = endpoint.log.stat().st_size
    assert endpoint.post(b"a=%zz", "application/x-www-form-urlencoded").status == 500
    assert endpoint.post(b"no image").status == 400  # the handler's own answer is counted once
    assert _failed(endpoint) == failed + 2
    said = [line for line in _log(endpoint, start) if "itself answered" in str(line["message"])]
    assert [(line["message"], line["level"], line["model"]) for line in said] == [
        ("the server itself answered 500 to 1 requests", "ERROR", "tiny/7")
    ]


def _failed(endpoint: Endpoint) -> int:
    """Return how many failed requests the monitor has counted, when that has not changed for two seconds."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 2.0:  # the supervisor reports once a second
        excluded = endpoint.status().get("excluded", {})
        now = int(excluded.get("failed", 0)) if isinstance(excluded, dict) else 0
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.05)
    return seen


@pytest.mark.parametrize("path", ["/execution-parameters", "/metrics"])
def test_the_paths_that_only_the_platform_asks_for_are_not_served(endpoint: Endpoint, path: str) -> None:
    assert urllib3.request("GET", f"{endpoint.url}{path}").status == 404


def test_connection_close_is_ignored(endpoint: Endpoint) -> None:
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/ping", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        assert answer.headers["connection"] == "keep-alive"


def test_a_target_with_the_host_is_not_found_and_long_headers_are_refused(endpoint: Endpoint) -> None:
    for target, headers, status in (
        (f"{endpoint.url}/ping", {}, 404),
        ("/ping", {"X-Long": "a" * 7_000}, 200),
        ("/ping", {"X-Long": "a" * 9_000}, 400),
    ):
        connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            assert connection.getresponse().status == status
