"""The real publisher, sink and botocore against an HTTP server that fails as CloudWatch may."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from driftserve.metrics.definitions import Metric, Unit
from driftserve.metrics.publisher import MAX_WAITING_PERIODS, Publisher
from driftserve.metrics.sinks.cloudwatch import MAX_METRICS_PER_CALL, CloudWatchSink
from fake_cloudwatch import Answer, FakeCloudWatch, fake_cloudwatch
from processes import wait_for

ATTEMPTS_A_CALL = 2  # made by botocore
LOST = ("LostMetrics", "cloudwatch")


@pytest.fixture
def cloudwatch(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloudWatch]:
    _lead_boto_to(port, monkeypatch)
    with fake_cloudwatch(port) as fake:
        yield fake


def _lead_boto_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


def _period(number: int, size: int = 3) -> list[Metric]:
    """Return metrics with value 10^number, so that each digit of a sum counts how often a period arrived."""
    return [
        Metric("Images", Unit.COUNT, (("Model", str(index)),), (10.0**number,), (1,), 1e9 + number)
        for index in range(size)
    ]


def _at_once(failures: int) -> float:  # noqa: ARG001
    return 0.0


def _much_later(failures: int) -> float:  # noqa: ARG001
    return 3600.0


def _sums(periods: Sequence[int], size: int = 3, lost: int = 0) -> Counter[tuple[str, ...]]:
    sums = Counter({("Images", str(index)): sum(10.0**number for number in periods) for index in range(size)})
    return sums + Counter({LOST: lost})


@pytest.mark.parametrize("trouble", ["throttle", "unavailable", "expired"])
def test_temporarily_refused_metrics_arrive_later_and_once(cloudwatch: FakeCloudWatch, trouble: Answer) -> None:
    cloudwatch.script = [trouble] * (2 * ATTEMPTS_A_CALL)
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_at_once)
    publisher.publish(_period(0))
    publisher.publish(_period(1))
    wait_for(lambda: len(cloudwatch.accepted) == 2)
    publisher.close(5.0)
    assert +cloudwatch.sums() == _sums([0, 1])


def test_the_region_of_a_sagemaker_container_is_enough(
    cloudwatch: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    CloudWatchSink("driftserve").emit(_period(0))
    assert +cloudwatch.sums() == _sums([0])


def test_only_the_throttled_calls_of_a_period_are_sent_again(cloudwatch: FakeCloudWatch) -> None:
    size = 2 * MAX_METRICS_PER_CALL + 10
    cloudwatch.script = ["accept", *["throttle"] * (2 * ATTEMPTS_A_CALL)]
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_at_once)
    publisher.publish(_period(0, size))
    wait_for(lambda: len(cloudwatch.accepted) == 3)
    publisher.close(5.0)
    assert [len(call) for call in cloudwatch.accepted] == [1000, 1000, 11]  # LostMetrics is the last
    assert +cloudwatch.sums() == _sums([0], size)


def test_values_split_into_calls_arrive_once_if_the_second_call_is_throttled(cloudwatch: FakeCloudWatch) -> None:
    values = tuple(map(float, range(1, 12_001)))
    cloudwatch.script = ["accept", *["throttle"] * ATTEMPTS_A_CALL]
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_at_once)
    publisher.publish([Metric("Latency", Unit.MILLISECONDS, (), values, (2,) * len(values), 1e9)])
    wait_for(lambda: len(cloudwatch.accepted) == 2)
    publisher.close(5.0)
    assert cloudwatch.sums()["Latency",] == 2 * sum(values)


def test_during_a_long_outage_the_oldest_metrics_are_dropped_and_counted(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lead_boto_to(port, monkeypatch)  # no server listens yet
    failures: list[int] = []

    def delay(number: int) -> float:
        failures.append(number)
        return 3600.0

    publisher = Publisher([CloudWatchSink("driftserve")], delay=delay)
    publisher.publish(_period(0))
    wait_for(lambda: failures)
    for number in range(1, MAX_WAITING_PERIODS + 5):
        publisher.publish(_period(number))
    with fake_cloudwatch(port) as cloudwatch:
        publisher.close(30.0)
    assert len(cloudwatch.accepted) == MAX_WAITING_PERIODS
    assert +cloudwatch.sums() == _sums(range(5, MAX_WAITING_PERIODS + 5), lost=5 * 3)


def test_invalid_metrics_are_sent_once_and_reported_as_lost_in_the_next_period(
    cloudwatch: FakeCloudWatch, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_much_later)
    cloudwatch.script = ["invalid"]
    publisher.publish(_period(0))
    publisher.publish(_period(1))
    publisher.close(5.0)
    assert cloudwatch.calls == ["invalid", "accept"]
    assert +cloudwatch.sums() == _sums([1], lost=3)
    assert "cloudwatch lost 3 metrics: CloudWatch rejected the metrics" in caplog.text
    assert "InvalidParameterValue" in caplog.text


def test_a_number_out_of_cloudwatchs_range_loses_only_its_own_call(cloudwatch: FakeCloudWatch) -> None:
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_much_later)
    bad = Metric("Confidence", Unit.NONE, (), (1e300,), (1,), 1e9)
    publisher.publish([bad, *_period(0, MAX_METRICS_PER_CALL - 1), *_period(1)])
    publisher.publish(_period(2))
    publisher.close(5.0)
    assert +cloudwatch.sums() == _sums([1, 2], lost=MAX_METRICS_PER_CALL)


def test_close_keeps_its_timeout_while_aws_hangs(cloudwatch: FakeCloudWatch, caplog: pytest.LogCaptureFixture) -> None:
    cloudwatch.then = "hang"
    publisher = Publisher([CloudWatchSink("driftserve")])
    publisher.publish(_period(0))
    publisher.publish(_period(1))
    wait_for(lambda: cloudwatch.calls)
    started = time.monotonic()
    publisher.close(0.5)
    assert time.monotonic() - started < 10.0
    assert "cloudwatch: 6 metrics lost at shutdown" in caplog.text


def test_metrics_wait_for_missing_credentials(
    cloudwatch: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    publisher = Publisher([CloudWatchSink("driftserve")], delay=_much_later)
    publisher.publish(_period(0))
    wait_for(lambda: "Unable to locate credentials" in caplog.text)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    publisher.close(5.0)
    assert +cloudwatch.sums() == _sums([0])
