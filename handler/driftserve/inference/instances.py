"""Reads the images of a JSON body, `{"instances": [{"b64": "..."}, ...]}`."""

import base64
import binascii
import json

from driftserve.errors import BadRequest, InvalidJson, RequestTooLarge

# Most commas in a body, in addition to one per instance. Base64 has no commas; a body with very many has millions of
# values, and takes seconds and a gigabyte to read.
_COMMAS_BESIDE_INSTANCES = 1_000

_EXAMPLE = '{"instances": [{"b64": "<base64 of an image file>"}]}'


def read_instances(body: bytes, max_instances: int) -> list[bytes | BadRequest]:
    """Return the bytes of each instance's image, or the instance's error, in order.

    The body is UTF-8, with or without a byte order mark. Keys other than `instances` are ignored, because clients of
    other servers send some. The base64 has the standard alphabet of RFC 4648, with padding, and without line breaks or
    other white space.

    Raises:
        InvalidJson: the body has no list of instances.
        RequestTooLarge: there are more than `max_instances`, or the body has too many commas for so few.
    """
    if (commas := body.count(b",")) > max_instances + _COMMAS_BESIDE_INSTANCES:
        raise RequestTooLarge(
            f"expected at most {max_instances} instances and little else, got JSON with {commas} commas; send fewer "
            "instances, and no other long lists"
        )
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
        raise InvalidJson(f"expected JSON in UTF-8, got bytes that are not UTF-8: {error}") from error
    except ValueError as error:  # not JSON, or a number with more digits than Python reads
        raise InvalidJson(f"expected JSON such as {_EXAMPLE}, got text that is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidJson(f"expected JSON such as {_EXAMPLE}, got JSON nested too deeply") from error


def _instances(document: object) -> list[object]:
    if not isinstance(document, dict):
        raise InvalidJson(f"expected an object such as {_EXAMPLE}, got {_kind(document)}")
    if "instances" not in document:
        raise InvalidJson(f"expected an object with the key `instances`, such as {_EXAMPLE}, got one without this key")
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
        raise InvalidJson(f"expected the key `b64` and no other, got {_listed(instance)}")
    text = instance["b64"]
    if not isinstance(text, str):
        raise InvalidJson(f"expected `b64` to be a string, got {_kind(text)}")
    if not text:
        raise InvalidJson("expected the base64 of an image, got an empty string")
    if text.startswith("data:"):
        raise InvalidJson("expected plain base64, got a data: URL; send only the part after its comma")
    if len(text) % 4 != 0 or text.endswith("==="):  # Python accepts extra padding, such as "===="
        raise InvalidJson(
            "expected base64 with a multiple of 4 characters and at most two '=' at its end, got "
            f"{len(text)} characters that end with {text[-3:]!r}; send no line breaks (`base64 -w0`)"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidJson(
            f"expected base64 in the standard alphabet (A-Z a-z 0-9 + /) without line breaks: {error}"
        ) from error


def _listed(instance: dict[str, object]) -> str:
    return ", ".join(f"{key[:40]!r}" for key in list(instance)[:5]) or "none"


def _kind(value: object) -> str:
    """Return the JSON type of a value, for messages that do not repeat the value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
