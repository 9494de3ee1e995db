import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftserve.observations.channel import Inbox, Receiver, Sender
from driftserve.observations.observation import Observation, ObservationBatch, batch_from_bytes
from observation_datagrams import to_datagram

NEVER = 1e6
ONE = (Observation(200, {"total": 1.0}),)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "o.sock"


def _numbered(*numbers: int) -> tuple[Observation, ...]:
    return tuple(Observation(200, {"total": float(number)}) for number in numbers)


def _numbers(batches: list[ObservationBatch]) -> list[int]:
    return [int(observation.latency_ms["total"]) for batch in batches for observation in batch.observations]


def _received(receiver: Receiver) -> list[ObservationBatch]:
    batches = []
    while (datagram := receiver.receive(0.01)) is not None:
        assert len(datagram) < 61_000
        batches.append(batch_from_bytes(datagram))
    return batches


def _fill_the_queue(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger, contextlib.suppress(BlockingIOError):
        stranger.setblocking(False)
        stranger.connect(str(path))
        while True:
            stranger.send(to_datagram(ObservationBatch("other", 0.0, ONE)))


def test_a_server_batch_is_one_datagram_with_its_response_time(path: Path) -> None:
    receiver = Receiver(path)
    Sender(path, "m", clock=lambda: 12.5).send(_numbered(1, 2, 3))
    assert _received(receiver) == [ObservationBatch("m", 12.5, _numbered(1, 2, 3))]


def test_without_a_monitor_sending_does_not_fail_and_observations_are_sent_later_in_order(path: Path) -> None:
    times = iter([1.0, 2.0, 3.0, 4.0])
    sender = Sender(path, "m", clock=lambda: next(times), retry_seconds=NEVER)
    for number in range(3):
        sender.send(_numbered(number))
    receiver = Receiver(path)
    sender.send(_numbered(3))
    assert _received(receiver) == [ObservationBatch("m", 4.0, _numbered(0, 1, 2, 3))]


def test_waiting_observations_are_sent_without_another_request(path: Path) -> None:
    sender = Sender(path, "m", retry_seconds=0.05)
    sender.send(_numbered(1, 2))
    time.sleep(0.2)  # retries fail in this time
    receiver = Receiver(path)
    assert receiver.receive(5.0) is not None
    sender.send(_numbered(3))
    assert _numbers(_received(receiver)) == [3]


def test_more_than_the_backlog_drops_the_oldest_and_reports_them_once(path: Path) -> None:
    sender = Sender(path, "m", retry_seconds=NEVER)
    for number in range(300):
        sender.send(_numbered(number))
    receiver = Receiver(path)
    sender.send(_numbered(300))
    sender.send(_numbered(301))
    batches = _received(receiver)
    assert _numbers(batches) == list(range(44, 302))  # the 256 that waited, and two new ones
    assert [batch.dropped for batch in batches] == [44, 0]


def test_a_full_queue_loses_nothing_that_fits_the_backlog(path: Path) -> None:
    receiver = Receiver(path)
    _fill_the_queue(path)
    sender = Sender(path, "m", retry_seconds=NEVER)
    for number in range(200):
        sender.send(_numbered(number))
    _received(receiver)
    sender.send(_numbered(200))
    batches = _received(receiver)
    assert _numbers(batches) == list(range(201))
    assert sum(batch.dropped for batch in batches) == 0


def test_every_observation_is_delivered_or_reported_as_dropped(path: Path) -> None:
    receiver = Receiver(path)
    sender = Sender(path, "m", retry_seconds=NEVER)
    for number in range(700):  # without a reader
        sender.send(_numbered(number))
    batches = _received(receiver)
    sender.send(_numbered(700))
    batches += _received(receiver)
    dropped = sum(batch.dropped for batch in batches)
    assert dropped > 0
    assert len(_numbers(batches)) + dropped == 701
    assert _numbers(batches) == sorted(_numbers(batches))


def _wide(number: int, kilobytes: int) -> Observation:
    return Observation(200, {"total": float(number)}, features=(0.5,) * (kilobytes * 256))  # 4 bytes each


def test_a_batch_that_is_too_long_is_split_and_drops_are_reported_once(path: Path) -> None:
    sender = Sender(path, "m", retry_seconds=NEVER)
    for number in range(257):  # one more than the backlog holds
        sender.send(_numbered(number))
    receiver = Receiver(path)
    sender.send(tuple(_wide(257 + number, 25) for number in range(8)))
    batches = _received(receiver)
    assert _numbers(batches) == list(range(1, 265))
    assert [(len(batch.observations), batch.dropped) for batch in batches] == [(257, 1), (2, 0), (2, 0), (2, 0), (1, 0)]


def test_an_empty_send_delivers_waiting_observations(path: Path) -> None:
    sender = Sender(path, "m", clock=lambda: 3.0)
    sender.send(ONE)
    receiver = Receiver(path)
    sender.send(())
    sender.send(())
    assert _received(receiver) == [ObservationBatch("m", 3.0, ONE)]


def test_a_send_delivers_at_most_two_waiting_datagrams(path: Path) -> None:
    sender = Sender(path, "m", retry_seconds=NEVER)
    for number in range(12):
        sender.send((_wide(number, 40),))  # each fills a datagram
    receiver = Receiver(path)
    for expected in ([0, 1, 2], [3, 4, 5]):
        sender.send((_wide(12, 40),))
        assert _numbers(_received(receiver)) == expected


def test_an_observation_larger_than_a_datagram_is_dropped_and_reported(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(path)
    sender = Sender(path, "m", retry_seconds=NEVER)
    for _ in range(2):
        sender.send((*_numbered(1), _wide(2, 3000), *_numbered(3)))
    batches = _received(receiver)
    assert _numbers(batches) == [1, 3, 1, 3]
    sender.send(ONE)
    assert sum(batch.dropped for batch in batches) + _received(receiver)[0].dropped == 2
    assert "do not fit into a datagram" in caplog.text


def test_a_sender_finds_a_restarted_monitor(path: Path) -> None:
    first = Receiver(path)
    sender = Sender(path, "m", retry_seconds=NEVER)
    sender.send(_numbered(1))
    first.close()
    sender.send(_numbered(2))  # the socket file exists, but nobody listens
    second = Receiver(path)
    sender.send(_numbered(3))
    assert _numbers(_received(second)) == [2, 3]


@pytest.fixture
def no_more_threads() -> Iterator[None]:
    """Make every new thread fail: its stack is larger than the address space."""
    before = threading.stack_size(1 << 47)
    yield
    threading.stack_size(before)


def test_if_no_thread_can_start_the_next_send_tries_again(path: Path, no_more_threads: None) -> None:  # noqa: ARG001
    sender = Sender(path, "m", retry_seconds=0.05)
    for number in range(2):
        sender.send(_numbered(number))
    threading.stack_size(0)
    sender.send(_numbered(2))
    receiver = Receiver(path)
    datagram = receiver.receive(5.0)
    assert datagram is not None
    assert _numbers([batch_from_bytes(datagram)]) == [0, 1, 2]


def test_a_small_datagram_takes_little_memory(path: Path) -> None:
    receiver = Receiver(path)
    sender = Sender(path, "m", retry_seconds=NEVER)
    sender.send(ONE)
    tracemalloc.start()
    datagram = receiver.receive(1.0)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert datagram is not None
    assert most_bytes < 10_000


def test_an_inbox_returns_the_oldest_first_and_limits_number_and_bytes() -> None:
    inbox = Inbox(max_datagrams=3, max_bytes=100)
    assert [inbox.put(bytes(size)) for size in (40, 50, 20, 10, 0)] == [True, True, False, True, False]
    assert len(inbox.take()) == 40
    assert [inbox.put(bytes(size)) for size in (41, 40)] == [False, True]
    assert [len(inbox.take()) for _ in range(len(inbox))] == [50, 10, 40]
    assert inbox.put(bytes(100))


def test_the_default_inbox_holds_64_mebibytes_of_the_longest_datagrams() -> None:
    inbox, datagram = Inbox(), bytes(60_000)
    while inbox.put(datagram):
        assert len(inbox) <= (64 << 20) // 60_000
    assert len(inbox) == (64 << 20) // 60_000
