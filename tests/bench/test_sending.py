"""What a send costs the worker."""

import time

import numpy as np
import pytest

from driftserve.channel import Receiver, Sender
from driftserve.observation import Observation

pytestmark = pytest.mark.bench


def test_a_send_costs_a_request_less_than_a_fifth_of_a_millisecond(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "o.sock"
    receiver = Receiver(path)
    sender = Sender(path, "m")
    features = tuple(np.random.default_rng(0).normal(size=30).tolist())
    observation = Observation(200, {"decode": 1.1, "preprocess": 0.3, "model": 4.7, "total": 6.2}, "sea", 0.9, features)
    seconds = []
    for _ in range(500):
        started = time.perf_counter()
        sender.send((observation,))
        seconds.append(time.perf_counter() - started)
        receiver.receive(1.0)
    assert np.median(seconds) <= 0.0002
