"""The images of a JSON body, `{"instances": [{"b64": "..."}, ...]}`."""

import base64
import binascii
import json

from driftserve.errors import BadRequest, InvalidJson, RequestTooLarge

# Base64 has no commas: a body of many is millions of values, which would take seconds and a gigabyte to read.
_COMMAS_BESIDE_INSTANCES = 1_000

_EXAMPLE = '{"instances": [{"b64": "<base64 of an image file>"}]}'


def read_instances(body: bytes, max_instances: int) -> list[bytes | BadRequest]:
    """The bytes of each instance, or what is wrong with it, in order.

    The body is UTF-8, with or without a byte order mark; its keys beside `instances` are ignored, as other
    servers' clients send some. The base64 is RFC 4648's standard alphabet, with padding and without line
    breaks or other white space.

    Raises:
        InvalidJson: the body as a whole holds no list of instances.
        RequestTooLarge: there are more than `max_instances`.
    """
    if (commas := body.count(b",")) > max_instances + _COMMAS_BESIDE_INSTANCES:
        raise RequestTooLarge(f"expected at most {max_instances} instances, got JSON of {commas} commas; send less")
    instances = _instances(_document(body))
    if len(instances) > max_instances:
        raise RequestTooLarge(
            f"expected at most {max_instances} instances, got {len(instances)}; send them in several requests"
        )
    return [_read(instance, index) for index, instance in enumerate(instances)]


def _document(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidJson(f"expected JSON in UTF-8, got other bytes: {error}") from error
    except ValueError as error:  # not JSON, or a number of more digits than Python reads
        raise InvalidJson(f"expected JSON such as {_EXAMPLE}, got something else: {error}") from error
    except RecursionError as error:
        raise InvalidJson(f"expected JSON such as {_EXAMPLE}, got one nested too deeply") from error


def _instances(document: object) -> list[object]:
    if not isinstance(document, dict):
        raise InvalidJson(f"expected an object such as {_EXAMPLE}, got {_kind(document)}")
    if "instances" not in document:
        raise InvalidJson(f"expected an object with `instances`, such as {_EXAMPLE}, got one without")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise InvalidJson(f"expected `instances` to be a list, such as {_EXAMPLE}, got {_kind(instances)}")
    if not instances:
        raise InvalidJson("expected at least one instance, got an empty list")
    return instances


def _read(instance: object, index: int) -> bytes | BadRequest:
    try:
        return _bytes(instance)
    except InvalidJson as error:
        return InvalidJson(f"instance {index}: {error}")


def _bytes(instance: object) -> bytes:
    if not isinstance(instance, dict):
        raise InvalidJson(f'expected an object {{"b64": "..."}}, got {_kind(instance)}')
    if set(instance) != {"b64"}:
        raise InvalidJson(f"expected `b64` and no other key, got {_listed(instance)}")
    text = instance["b64"]
    if not isinstance(text, str):
        raise InvalidJson(f"expected `b64` to be a string, got {_kind(text)}")
    if not text:
        raise InvalidJson("expected the base64 of an image, got an empty string")
    if text.startswith("data:"):
        raise InvalidJson("expected plain base64, got a data: URL; send only what stands after its comma")
    if len(text) % 4 != 0 or text.endswith("==="):  # Python's own check passes over a needless "===="
        raise InvalidJson(
            f"expected base64 in fours of characters, got {len(text)} or too much padding; "
            "pad it with '=' or '==', and send no line breaks (`base64 -w0`)"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidJson(
            f"expected base64 of the standard alphabet (A-Z a-z 0-9 + /) without line breaks, got other: {error}"
        ) from error


def _listed(instance: dict[str, object]) -> str:
    return ", ".join(f"{key[:40]!r}" for key in list(instance)[:5]) or "none"


def _kind(value: object) -> str:
    """What JSON calls the value, for a message that does not repeat it."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
