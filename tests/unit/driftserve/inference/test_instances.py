import base64
import json
import time

import pytest

from driftserve.errors import BadRequest, InvalidJson, RequestTooLarge
from driftserve.inference.instances import read_instances


def _body(*texts: object) -> bytes:
    return json.dumps({"instances": [{"b64": text} for text in texts]}).encode()


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_instances_are_read_in_order_as_bytes() -> None:
    assert read_instances(_body(_b64(b"one"), _b64(b"two!"), _b64(bytes(range(256)))), 3) == [
        b"one",
        b"two!",
        bytes(range(256)),
    ]


def test_a_byte_order_mark_and_other_keys_of_the_body_are_ignored() -> None:
    body = b'\xef\xbb\xbf{"signature_name": "x", "instances": [{"b64": "b25l"}]}'
    assert read_instances(body, 1) == [b"one"]


def test_a_bad_instance_fails_alone_and_its_error_names_it() -> None:
    good, bad, also_good = read_instances(_body(_b64(b"one"), "***", _b64(b"two")), 3)
    assert (good, also_good) == (b"one", b"two")
    assert isinstance(bad, InvalidJson)
    assert str(bad).startswith("instance 1: expected base64")


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (7, "got a number"),
        (None, "got null"),
        ("b25l", "got a string"),
        (["b25l"], "got a list"),
        ({}, "key `b64` and no other, got none"),
        ({"B64": "b25l"}, "no other, got 'B64'"),
        ({"b64": "b25l", "weight": 1}, "no other, got 'b64', 'weight'"),
        ({"b64": 7}, "to be a string, got a number"),
        ({"b64": None}, "to be a string, got null"),
        ({"b64": True}, "to be a string, got a boolean"),
        ({"b64": ""}, "got an empty string"),
        ({"b64": "b25"}, "at most two '=' at its end, got 3 characters"),
        ({"b64": "b25lCg"}, "at most two '=' at its end, got 6 characters"),
        ({"b64": "b25l\nb25l"}, "no line breaks"),
        ({"b64": "b25l b25lb25"}, "without line breaks"),
        ({"b64": "b25l\r\nb25lb2"}, "without line breaks"),
        ({"b64": "b2-_"}, "standard alphabet"),
        ({"b64": "b2==b25l"}, "standard alphabet"),
        ({"b64": "===="}, "at most two '=' at its end"),
        ({"b64": "b==="}, "at most two '=' at its end"),
        ({"b64": "b25l===="}, "at most two '=' at its end"),
        ({"b64": "b25é"}, "standard alphabet"),
        ({"b64": "\ud800abc"}, "standard alphabet"),
        ({"b64": "data:image/png;base64,b25l"}, "after its comma"),
    ],
)
def test_the_error_for_a_bad_instance_says_what_was_expected(instance: object, message: str) -> None:
    (result,) = read_instances(json.dumps({"instances": [instance]}).encode(), 1)
    assert isinstance(result, InvalidJson)
    assert result.status == 400
    assert str(result).startswith("instance 0: expected")
    assert message in str(result)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe{\0}\0", "in UTF-8"),
        ('{"instances": [{"b64": "b25l"}]}'.encode("utf-16"), "in UTF-8"),
        (b'{"instances": [{"b64": "\xff"}]}', "in UTF-8"),
        (b'{"instances": [{"b64": "b25l\nb25l"}]}', "expected JSON"),
        (b'{"instances": [' + b"1" * 5000 + b"]}", "expected JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances":' * 100_000, "nested too deeply"),
        (b"7", "got a number"),
        (b"null", "got null"),
        (b"[]", "got a list"),
        (b'"instances"', "got a string"),
        (b"{}", "got one without this key"),
        (b'{"Instances": []}', "got one without this key"),
        (b'{"instances": {}}', "got an object"),
        (b'{"instances": null}', "got null"),
        (b'{"instances": []}', "got an empty list"),
    ],
)
def test_a_body_without_instances_is_refused_as_a_whole(body: bytes, message: str) -> None:
    with pytest.raises(InvalidJson, match="expected") as caught:
        read_instances(body, 10)
    assert message in str(caught.value)


def test_the_error_for_too_many_instances_states_their_number() -> None:
    with pytest.raises(RequestTooLarge, match="expected at most 2 instances, got 3") as caught:
        read_instances(_body("b25l", "b25l", "b25l"), 2)
    assert caught.value.status == 413


def test_a_message_never_repeats_a_long_body() -> None:
    (result,) = read_instances(json.dumps({"instances": [{"k" * 10_000: 1, "b64": "!" * 10_000}]}).encode(), 1)
    assert isinstance(result, BadRequest)
    assert len(str(result)) < 400


@pytest.mark.parametrize("value", [b"{}", b"1", b'"a":0'], ids=["objects", "numbers", "keys"])
def test_millions_of_values_are_refused_before_parsing(value: bytes) -> None:
    started = time.process_time()
    with pytest.raises(RequestTooLarge, match="expected at most 64 instances"):
        read_instances(b'{"instances": [' + (value + b",") * 4_000_000, 64)
    assert time.process_time() - started < 0.5
