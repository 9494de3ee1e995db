import json

import pytest

from driftserve.metrics.definitions import Metric, Unit
from driftserve.metrics.sinks.cloudwatch import (
    MAX_METRICS_PER_CALL,
    MAX_VALUES_PER_CALL,
    MAX_VALUES_PER_METRIC,
    to_calls,
    to_datum,
)


def _metric(values: int, name: str = "Latency") -> Metric:
    return Metric(
        name,
        Unit.MILLISECONDS,
        (("Phase", "total"),),
        tuple(map(float, range(values))),
        tuple(range(1, values + 1)),
        0.0,
    )


@pytest.mark.parametrize("metrics", [[], [_metric(1)], [_metric(151)], [_metric(4000)] * 9, [_metric(1)] * 2500])
def test_every_call_keeps_the_limits_of_the_service_and_nothing_is_lost(metrics: list[Metric]) -> None:
    calls = [[to_datum(part) for part in call] for call in to_calls(metrics)]
    sent = 0.0
    for call in calls:
        assert 0 < len(call) <= MAX_METRICS_PER_CALL
        assert sum(len(datum["Values"]) for datum in call) <= MAX_VALUES_PER_CALL
        for datum in call:
            assert 0 < len(datum["Values"]) == len(datum["Counts"]) <= MAX_VALUES_PER_METRIC
            sent += sum(datum["Counts"])
    assert sent == sum(sum(metric.counts) for metric in metrics)


def test_a_label_that_cloudwatch_would_refuse_is_escaped_to_ascii() -> None:
    metrics = [
        Metric("PredictedClass", Unit.COUNT, (("Class", label),), (1.0,), (1,), 0.0) for label in ("Höhle", ":x", "")
    ]
    (call,) = to_calls(metrics)
    assert [to_datum(metric)["Dimensions"][0]["Value"] for metric in call] == ["H\\xf6hle", "x", "_"]


def test_a_datum_has_name_unit_dimensions_and_time() -> None:
    datum = to_datum(_metric(2))
    assert datum["MetricName"] == "Latency"
    assert datum["Unit"] == "Milliseconds"
    assert datum["Dimensions"] == [{"Name": "Phase", "Value": "total"}]
    assert datum["Timestamp"].isoformat() == "1970-01-01T00:00:00+00:00"
    assert (datum["Values"], datum["Counts"]) == ([0.0, 1.0], [1.0, 2.0])


def test_the_largest_call_is_below_the_size_limit_of_the_service() -> None:
    dimensions = (("EndpointName", "e" * 63), ("VariantName", "v" * 63), ("Model", "m" * 129), ("Class", "c" * 100))
    values = tuple(float(f"-1.{digits:02}e-10") for digits in range(10))  # three digits, as the aggregator rounds to
    metric = Metric("DroppedObservations", Unit.MILLISECONDS, dimensions, values, (1_000_000,) * 10, 1e9)
    (call,) = to_calls([metric] * MAX_METRICS_PER_CALL)
    assert sum(len(part.values) for part in call) == MAX_VALUES_PER_CALL
    assert len(json.dumps([to_datum(part) for part in call], default=str)) < 1024 * 1024
