"""Whole batches as datagrams, as `Sender` makes them of its waiting observations."""

from driftserve.observations.observation import ObservationBatch, encoded_batch, observation_to_bytes


def to_datagram(batch: ObservationBatch) -> bytes:
    return encoded_batch(batch.model, batch.answered_at, batch.dropped, map(observation_to_bytes, batch.observations))
