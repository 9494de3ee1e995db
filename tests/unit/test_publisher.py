import threading
from collections.abc import Sequence

import pytest

from driftserve.metrics import Metric, Unit
from driftserve.publisher import Publisher

METRICS = [Metric("Requests", Unit.COUNT, (), (1.0,), (1,), 0.0)]


class FakeSink:
    """Keeps what it gets; raises or waits where it is told to."""

    def __init__(self, error: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.got: list[Metric] = []
        self._error = error
        self._gate = gate

    def emit(self, metrics: Sequence[Metric]) -> None:
        if self._gate is not None:
            self._gate.wait()
        if self._error is not None:
            raise self._error
        self.got += metrics


def test_every_sink_gets_every_period_before_close_returns() -> None:
    sinks = [FakeSink(), FakeSink()]
    publisher = Publisher(sinks)
    publisher.publish(METRICS)
    publisher.publish(METRICS)
    publisher.close(5.0)
    assert [len(sink.got) for sink in sinks] == [2, 2]


def test_a_sink_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    good = FakeSink()
    publisher = Publisher([FakeSink(error=ConnectionError("no AWS")), good])
    publisher.publish(METRICS)
    publisher.close(5.0)
    assert good.got == METRICS
    assert "FakeSink lost 1 metrics" in caplog.text
    assert "no AWS" in caplog.text


def test_a_sink_that_hangs_never_blocks_the_publisher(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    publisher = Publisher([FakeSink(gate=gate)])
    for _ in range(100):
        publisher.publish(METRICS)
    assert "metrics lost: the sinks are 60 periods behind" in caplog.text
    gate.set()
    publisher.close(5.0)
