"""What the request path tells the monitor: a few dozen numbers an image, never pixels."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PHASES = ("decode", "preprocess", "model", "total")

# In the header X-Amzn-SageMaker-Custom-Attributes: a request that is answered and counted, but not watched.
TEST_ATTRIBUTE = "driftserve-test=true"

_to_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder a call


@dataclass(frozen=True)
class Observation:
    """One answered image; a request without a readable one is an observation too.

    `latency_ms` maps those of `PHASES` that it came to, to milliseconds. `label`, `confidence` and
    `features` (in the order of the contract's reference) are there where the answer was a prediction.
    `image_id` is the same for two bodies that are the same, byte for byte; None where that is not known. `is_test`
    marks test traffic, which is counted and not watched. All numbers are finite.
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
    """What one worker sends at once: the answers of one server batch, and older ones that could not go before.

    `model` is the archive's content digest; `answered_at` is when the last of them was answered, in
    seconds since the epoch; `dropped` counts the observations that this sender gave up since its last
    batch that arrived.
    """

    model: str
    answered_at: float
    observations: tuple[Observation, ...]
    dropped: int = 0


def observation_to_bytes(observation: Observation) -> bytes:
    """One observation as `encoded_batch` takes it. By hand: `dataclasses.asdict` would cost most of a send."""
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
    """A batch as one datagram: one line of compact JSON, whose floats read back to the same value.

    Args:
        model: as in `ObservationBatch`, and so are the next two.
        answered_at: in seconds since the epoch.
        dropped: a number of observations.
        observations: each as `observation_to_bytes` encoded it.
    """
    head = _to_json({"model": model, "answered_at": answered_at, "dropped": dropped}).encode()
    return head[:-1] + b',"observations":[' + b",".join(observations) + b"]}"


def batch_from_bytes(datagram: bytes) -> ObservationBatch:
    """The batch that a datagram of `encoded_batch` holds.

    Raises:
        ValueError: the datagram is none of ours, or a number in it is not finite.
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
        raise ValueError(f"expected a batch of observations, got {datagram[:80]!r} ({error!r})") from error


def is_marked_as_test(attributes: str) -> bool:
    """Whether the header X-Amzn-SageMaker-Custom-Attributes marks test traffic.

    >>> is_marked_as_test("trace=1; driftserve-test=true"), is_marked_as_test("my-driftserve-test=true")
    (True, False)
    """
    return TEST_ATTRIBUTE in re.split(r"[;,\s]+", attributes)


def image_id_of(body: bytes) -> str:
    """What tells one image file from another: 64 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()[:16]


def _finite(value: float | str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {number}")
    return number
