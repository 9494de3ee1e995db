from pathlib import Path

import pytest

from driftserve.channel import Receiver, Sender
from driftserve.observation import Observation, batch_from_bytes

ONE = (Observation(200, {"total": 1.0}),)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "o.sock"


def _received(receiver: Receiver) -> int:
    """The observations that wait, and with them the drops that their senders report."""
    waiting = 0
    while (datagram := receiver.receive(0.01)) is not None:
        batch = batch_from_bytes(datagram)
        waiting += len(batch.observations) + batch.dropped
    return waiting


def test_what_is_sent_arrives(path: Path) -> None:
    receiver = Receiver(path)
    Sender(path, "m").send(ONE)
    datagram = receiver.receive(1.0)
    assert datagram is not None
    assert batch_from_bytes(datagram).observations == ONE


def test_without_a_monitor_sending_neither_fails_nor_waits_and_drops_are_reported_later(path: Path) -> None:
    sender = Sender(path, "m")
    for _ in range(3):
        sender.send(ONE)
    receiver = Receiver(path)
    sender.send(ONE)
    datagram = receiver.receive(1.0)
    assert datagram is not None
    assert batch_from_bytes(datagram).dropped == 3


def test_a_full_queue_drops_and_accounts_for_every_observation(path: Path) -> None:
    receiver = Receiver(path)
    sender = Sender(path, "m")
    for _ in range(500):  # more than the kernel queues, and nobody reads
        sender.send(ONE)
    accounted = _received(receiver)
    assert accounted < 500
    sender.send(ONE)
    assert accounted + _received(receiver) == 501


def test_a_sender_finds_a_restarted_monitor(path: Path) -> None:
    first = Receiver(path)
    sender = Sender(path, "m")
    sender.send(ONE)
    first.close()
    second = Receiver(path)
    sender.send(ONE)
    assert _received(second) == 1
