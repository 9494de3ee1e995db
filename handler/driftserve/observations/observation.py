"""Defines an observation: what a worker sends to the monitor about an image, a few dozen numbers, never pixels."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from driftserve.text import one_line

PHASES = ("decode", "preprocess", "model", "total")

# In the header X-Amzn-SageMaker-Custom-Attributes, this text marks a test request. Test requests are answered and
# counted, but enter no drift window.
TEST_ATTRIBUTE = "driftserve-test=true"

_to_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would create an encoder at each call


@dataclass(frozen=True)
class Observation:
    """One answered image, or one request without a readable image.

    `latency_ms` maps each phase of `PHASES` that ran to its duration in ms. `label`, `confidence` and `features` (in
    the order of the contract's reference) are set if the answer was a prediction. Two image files with the same bytes
    have the same `image_id`; it is None if unknown. `is_test` marks test traffic, which is counted but enters no drift
    window. All numbers are finite.
    """

    status: int
    latency_ms: Mapping[str, float]
    label: str | None = None
    confidence: float | None = None
    features: tuple[float, ...] | None = None
    image_id: str | None = None
    is_test: bool = False


@dataclass(frozen=True)
class ObservationBatch:
    """What one worker sends in one datagram: new observations, and older observations that it could not send before.

    `model` is the key of the served model (`archive.served`). `answered_at` is when the last image was answered, in
    seconds since the epoch. `dropped` counts the observations that this worker has dropped since its last delivered
    batch.
    """

    model: str
    answered_at: float
    observations: tuple[Observation, ...]
    dropped: int = 0


def observation_to_bytes(observation: Observation) -> bytes:
    """Encode one observation for `encoded_batch`.

    The fields are listed by hand, since `dataclasses.asdict` would take most of the time of a send.
    """
    return _to_json(
        {
            "status": observation.status,
            "latency_ms": dict(observation.latency_ms),
            "label": observation.label,
            "confidence": observation.confidence,
            "features": observation.features,
            "image_id": observation.image_id,
            "is_test": observation.is_test,
        }
    ).encode()


def encoded_batch(model: str, answered_at: float, dropped: int, observations: Iterable[bytes]) -> bytes:
    """Encode a batch as one datagram: one line of compact JSON, from which floats are read back without a change.

    Args:
        model: As in `ObservationBatch`.
        answered_at: As in `ObservationBatch`.
        dropped: As in `ObservationBatch`.
        observations: Results of `observation_to_bytes`.
    """
    head = _to_json({"model": model, "answered_at": answered_at, "dropped": dropped}).encode()
    return head[:-1] + b',"observations":[' + b",".join(observations) + b"]}"


def batch_from_bytes(datagram: bytes) -> ObservationBatch:
    """Decode a datagram of `encoded_batch`.

    Raises:
        ValueError: The datagram is not a batch of observations, or contains a number that is not finite.
    """
    try:
        document = json.loads(datagram)
        observations = tuple(
            Observation(
                status=int(item["status"]),
                latency_ms={str(phase): _finite(value) for phase, value in item["latency_ms"].items()},
                label=None if item["label"] is None else str(item["label"]),
                confidence=None if item["confidence"] is None else _finite(item["confidence"]),
                features=None if item["features"] is None else tuple(map(_finite, item["features"])),
                image_id=None if item["image_id"] is None else str(item["image_id"]),
                is_test=bool(item["is_test"]),
            )
            for item in document["observations"]
        )
        dropped = int(document["dropped"])
        if dropped < 0:
            raise ValueError(f"expected dropped >= 0, got {dropped}")
        return ObservationBatch(str(document["model"]), _finite(document["answered_at"]), observations, dropped)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"  # the `repr` of some errors contains the whole line
        raise ValueError(f"expected a batch of observations, got {datagram[:80]!r} ({reason})") from error


def is_marked_as_test(attributes: str) -> bool:
    """Return whether the header X-Amzn-SageMaker-Custom-Attributes marks test traffic.

    >>> is_marked_as_test("trace=1; driftserve-test=true"), is_marked_as_test("my-driftserve-test=true")
    (True, False)
    """
    return TEST_ATTRIBUTE in re.split(r"[;,\s]+", attributes)


def image_id_of(body: bytes) -> str:
    """Return an image file's identifier: 64 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()[:16]


def _finite(value: float | str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {number}")
    return number
