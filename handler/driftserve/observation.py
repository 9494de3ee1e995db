"""What the request path tells the monitor: a few dozen numbers an image, never pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

PHASES = ("decode", "preprocess", "model", "total")


@dataclass(frozen=True)
class Observation:
    """One answered request.

    `latency_ms` maps those of `PHASES` that it came to, to milliseconds. `label`, `confidence` and
    `features` (in the order of the contract's reference) are there where the answer was a prediction.
    """

    status: int
    latency_ms: Mapping[str, float]
    label: str | None = None
    confidence: float | None = None
    features: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ObservationBatch:
    """What one worker sends at once: the answers of one server batch.

    `model` is the archive's content digest; `dropped` counts the observations that this sender
    could not deliver since its last batch that arrived.
    """

    model: str
    observations: tuple[Observation, ...]
    dropped: int = 0


def batch_to_bytes(batch: ObservationBatch) -> bytes:
    """The batch as one datagram: compact JSON, whose floats read back to the same value."""
    return json.dumps(asdict(batch), separators=(",", ":")).encode()


def batch_from_bytes(datagram: bytes) -> ObservationBatch:
    """The batch that a datagram of `batch_to_bytes` holds.

    Raises:
        ValueError: the datagram is none of ours.
    """
    try:
        document = json.loads(datagram)
        observations = tuple(
            Observation(
                status=int(item["status"]),
                latency_ms={str(phase): float(value) for phase, value in item["latency_ms"].items()},
                label=None if item["label"] is None else str(item["label"]),
                confidence=None if item["confidence"] is None else float(item["confidence"]),
                features=None if item["features"] is None else tuple(map(float, item["features"])),
            )
            for item in document["observations"]
        )
        return ObservationBatch(str(document["model"]), observations, int(document["dropped"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"expected a batch of observations, got {datagram[:80]!r}") from error
