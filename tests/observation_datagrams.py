"""Encode a whole batch as one datagram, in the format of `Sender`."""

from driftserve.observations.observation import ObservationBatch, encoded_batch, observation_to_bytes


def to_datagram(batch: ObservationBatch) -> bytes:
    return encoded_batch(batch.model, batch.answered_at, batch.dropped, map(observation_to_bytes, batch.observations))
