import threading
from collections.abc import Callable, Sequence

import pytest

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import LOST, Metric, Unit, common_dimensions
from driftserve.metrics.publisher import MAX_WAITING_PERIODS, Publisher, retry_delay
from processes import wait_for


def _period(number: int, size: int = 1) -> list[Metric]:
    return [Metric(f"Metric{index}", Unit.COUNT, (), (float(number),), (1,), float(number)) for index in range(size)]


class FakeSink:
    """Keeps the metrics that it gets. Each call first runs the next step of a script, which may raise or wait."""

    name = "fake"

    def __init__(self, *script: Callable[[Sequence[Metric]], None]) -> None:
        self.got: list[Metric] = []
        self.calls = 0
        self._script = list(script)

    def emit(self, metrics: Sequence[Metric]) -> None:
        self.calls += 1
        if self._script:
            self._script.pop(0)(metrics)
        self.got += metrics

    def values(self) -> list[float]:
        return [metric.values[0] for metric in self.got if metric.name != LOST.name]

    def lost(self) -> list[float]:
        return [metric.values[0] for metric in self.got if metric.name == LOST.name]


def _away(metrics: Sequence[Metric]) -> None:
    raise DeliveryError("no AWS", metrics, is_permanent=False)


def _refuses(metrics: Sequence[Metric]) -> None:
    raise DeliveryError("not like that", metrics, is_permanent=True)


def _is_broken(metrics: Sequence[Metric]) -> None:  # noqa: ARG001
    raise RuntimeError("a fault of the sink")


def _at_once(failures: int) -> float:  # noqa: ARG001
    return 0.0


def _much_later(failures: int) -> float:  # noqa: ARG001
    return 3600.0


def test_every_sink_gets_every_period_before_close_returns() -> None:
    sinks = [FakeSink(), FakeSink()]
    publisher = Publisher(sinks)
    publisher.publish(_period(1))
    publisher.publish(_period(2))
    publisher.close(5.0)
    assert [sink.values() for sink in sinks] == [[1.0, 2.0]] * 2


def test_every_period_reports_losses_with_the_name_of_the_sink() -> None:
    sink = FakeSink()
    publisher = Publisher([sink], common_dimensions("scenes", "AllTraffic"))
    publisher.publish(_period(1))
    publisher.publish([])
    publisher.close(5.0)
    assert sink.lost() == [0.0, 0.0]
    assert sink.got[1].dimensions == (("EndpointName", "scenes"), ("VariantName", "AllTraffic"), ("Sink", "fake"))


def test_a_failed_period_is_retried_until_it_is_delivered_once() -> None:
    sink = FakeSink(_away, _away)
    publisher = Publisher([sink], delay=_at_once)
    publisher.publish(_period(1))
    publisher.publish(_period(2))
    wait_for(lambda: len(sink.got) == 4)
    publisher.close(5.0)
    assert sink.values() == [1.0, 2.0]
    assert sink.lost() == [0.0, 0.0]


def test_only_undelivered_metrics_are_sent_again() -> None:
    sink = FakeSink()

    def takes_one(metrics: Sequence[Metric]) -> None:
        sink.got.append(metrics[0])
        raise DeliveryError("throttled", metrics[1:], is_permanent=False)

    sink._script = [takes_one]
    publisher = Publisher([sink], delay=_at_once)
    publisher.publish(_period(1, size=3))
    wait_for(lambda: len(sink.got) == 4)
    publisher.close(5.0)
    assert [metric.name for metric in sink.got] == ["Metric0", "Metric1", "Metric2", LOST.name]


def test_the_oldest_periods_are_dropped_when_too_many_wait_and_their_metrics_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried, go_on = threading.Event(), threading.Event()

    def hangs(metrics: Sequence[Metric]) -> None:
        tried.set()
        go_on.wait()
        _away(metrics)

    sink = FakeSink(hangs)
    publisher = Publisher([sink], delay=_at_once)
    publisher.publish(_period(0, size=2))
    tried.wait()
    for number in range(1, MAX_WAITING_PERIODS + 6):
        publisher.publish(_period(number, size=2))
    go_on.set()
    publisher.close(5.0)
    # 66 periods were published; the 60 newest arrive, in order.
    assert sink.values() == [float(number) for number in range(6, 66) for _ in range(2)]
    assert sum(sink.lost()) == 6 * 2
    assert sink.lost()[0] == 12.0
    assert caplog.text.count("60 periods behind") == 1
    assert "fake delivers again after 1 failures; 12 metrics were lost" in caplog.text


def test_undeliverable_metrics_are_dropped_at_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink(_refuses)
    publisher = Publisher([sink], delay=_much_later)
    publisher.publish(_period(1, size=3))
    publisher.publish(_period(2))
    publisher.close(5.0)
    assert sink.calls == 2
    assert sink.values() == [2.0]
    assert sink.lost() == [3.0]
    assert "fake lost 3 metrics: not like that" in caplog.text


def test_losses_that_could_not_be_reported_are_reported_later_and_once() -> None:
    sink = FakeSink(_refuses, _away, _refuses, _away)
    publisher = Publisher([sink], delay=_at_once)
    for number, size in enumerate((3, 5, 1, 1)):
        publisher.publish(_period(number, size))
    wait_for(lambda: len(sink.got) == 4)
    publisher.close(5.0)
    assert sink.lost() == [8.0, 0.0]


def test_lost_parts_of_a_metric_count_as_one() -> None:
    def refuses_parts(metrics: Sequence[Metric]) -> None:
        raise DeliveryError("no", [metrics[0], metrics[0], metrics[1]], is_permanent=True)

    sink = FakeSink(refuses_parts)
    publisher = Publisher([sink])
    publisher.publish(_period(1, size=2))
    publisher.publish(_period(2))
    publisher.close(5.0)
    assert sink.lost() == [2.0]


def test_an_error_in_a_sink_is_logged_and_does_not_affect_other_sinks(caplog: pytest.LogCaptureFixture) -> None:
    broken, good = FakeSink(_is_broken), FakeSink()
    publisher = Publisher([broken, good])
    publisher.publish(_period(1))
    publisher.publish(_period(2))
    publisher.close(5.0)
    assert good.values() == [1.0, 2.0]
    assert (broken.values(), broken.lost()) == ([2.0], [1.0])
    assert "fake lost 1 metrics" in caplog.text
    assert "RuntimeError: a fault of the sink" in caplog.text


def test_a_hanging_sink_delays_no_other_and_close_keeps_its_timeout(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    slow, quick = FakeSink(lambda _: gate.wait() and None), FakeSink()
    publisher = Publisher([slow, quick])
    for number in range(3):
        publisher.publish(_period(number))
    wait_for(lambda: len(quick.got) == 6)
    publisher.close(0.2)
    assert "fake: 3 metrics lost at shutdown" in caplog.text
    gate.set()


def test_close_does_not_wait_for_the_retry_delay_and_tries_once_more() -> None:
    sink = FakeSink(_away)
    publisher = Publisher([sink], delay=_much_later)
    publisher.publish(_period(1))
    wait_for(lambda: sink.calls == 1)
    publisher.close(5.0)
    assert sink.values() == [1.0]


def test_close_ends_early_if_the_next_retry_would_be_too_late(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink(*[_away] * 9)
    publisher = Publisher([sink], delay=_much_later)
    publisher.publish(_period(1))
    wait_for(lambda: sink.calls == 1)
    publisher.close(60.0)  # longer than this test may run
    assert sink.calls == 2
    assert "fake: 1 metrics lost at shutdown" in caplog.text


def test_an_outage_is_logged_at_start_and_end_and_rarely_in_between(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink(*[_away] * 100)
    publisher = Publisher([sink], delay=_at_once)
    publisher.publish(_period(1))
    wait_for(lambda: sink.values())
    publisher.close(5.0)
    assert [line.split(",")[0] for line in caplog.messages] == [
        "fake: delivery failed 1 times in a row",
        "fake: delivery failed 61 times in a row",
        "fake delivers again after 100 failures; 0 metrics were lost",
    ]


@pytest.mark.parametrize(("failures", "bound"), [(1, 2.0), (3, 8.0), (6, 60.0), (100_000, 60.0)])
def test_the_retry_delay_is_random_with_a_bound_that_doubles_up_to_a_minute(failures: int, bound: float) -> None:
    delays = [retry_delay(failures) for _ in range(300)]
    assert 1.0 <= min(delays) < 1.0 + bound / 10
    assert 0.9 * bound < max(delays) <= bound
