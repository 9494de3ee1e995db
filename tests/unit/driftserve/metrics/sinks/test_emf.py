import errno
import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import DEFINITIONS, Metric, Unit
from driftserve.metrics.sinks.emf import MAX_LINE_BYTES, MAX_SAMPLES_PER_METRIC, EmfSink, thin

MODEL = (("EndpointName", "scenes"), ("VariantName", "AllTraffic"), ("Model", "scenes/1"))


def _metric(
    name: str, values: Sequence[float], counts: Sequence[int] | None = None, own: Sequence[tuple[str, str]] = ()
) -> Metric:
    counts = counts or [1] * len(values)
    return Metric(name, Unit.MILLISECONDS, (*MODEL, *own), tuple(values), tuple(counts), 1_700_000_000.25)


def _events(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the events that the sink writes; assert that each line keeps the limits of the specification."""
    stream = io.StringIO()
    EmfSink("driftserve", stream).emit(metrics)
    assert stream.getvalue().isascii()
    events = [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]
    for event in events:
        assert set(event["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
        (directive,) = event["_aws"]["CloudWatchMetrics"]
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        (dimensions,) = directive["Dimensions"]
        assert len(dimensions) <= 30
        assert all(isinstance(event[name], str) and 1 <= len(event[name]) <= 1024 for name in dimensions)
        names = [metric["Name"] for metric in directive["Metrics"]]
        assert 1 <= len(names) <= 100
        assert len(names) == len(set(names))
        assert all(1 <= len(_samples(event, name)) <= 100 for name in names)
        assert set(event) == {"_aws", *dimensions, *names}
        assert len(json.dumps(event)) < 256 * 1024
    return events


def _samples(event: dict[str, Any], name: str) -> list[float]:
    return event[name] if isinstance(event[name], list) else [event[name]]


def _all_samples(events: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [sample for event in events if name in event for sample in _samples(event, name)]


def test_metrics_with_the_same_dimensions_share_a_line() -> None:
    metrics = [_metric("Images", [12.0]), _metric("Confidence", [0.5, 0.9], [2, 1])]
    (event,) = _events([*metrics])
    assert event == {
        "_aws": {
            "Timestamp": 1_700_000_000_250,
            "CloudWatchMetrics": [
                {
                    "Namespace": "driftserve",
                    "Dimensions": [["EndpointName", "VariantName", "Model"]],
                    "Metrics": [
                        {"Name": "Images", "Unit": "Milliseconds"},
                        {"Name": "Confidence", "Unit": "Milliseconds"},
                    ],
                }
            ],
        },
        **dict(MODEL),
        "Images": 12.0,
        "Confidence": [0.5, 0.5, 0.9],
    }


def test_each_class_has_its_own_line_in_ascii() -> None:
    classes = [_metric("PredictedClass", [3.0], own=[("Class", label)]) for label in ("Höhle", "sea")]
    assert [event["Class"] for event in _events(classes)] == ["H\\xf6hle", "sea"]


def test_metrics_beyond_the_limits_of_a_line_go_to_further_lines() -> None:
    metrics = [_metric(f"Metric{index}", np.arange(index * 7 % 450, dtype=float).tolist()) for index in range(250)]
    events = _events([metric for metric in metrics if metric.values])
    for metric in metrics:
        assert _all_samples(events, metric.name) == list(metric.values)


def test_a_repeated_metric_goes_to_two_lines() -> None:
    assert [event["Images"] for event in _events([_metric("Images", [1.0]), _metric("Images", [2.0])])] == [1.0, 2.0]


def test_a_line_is_written_to_a_pipe_in_one_piece() -> None:
    stream = io.StringIO()
    own = [("Feature", "f" * 100)]
    EmfSink("driftserve", stream).emit(
        [_metric(f"Metric{index}", np.linspace(0, 1, 1000).tolist(), own=own) for index in range(20)]
    )
    assert max(map(len, stream.getvalue().splitlines(keepends=True))) <= MAX_LINE_BYTES


def test_few_samples_are_all_written() -> None:
    values = sorted(np.random.default_rng(0).normal(size=MAX_SAMPLES_PER_METRIC).tolist())
    assert _all_samples(_events([_metric("Latency", values)]), "Latency") == values


def test_many_samples_are_thinned_to_quantiles_in_any_order(generator: np.random.Generator) -> None:
    samples = generator.lognormal(size=60_000).round(2)
    counts = Counter(samples.tolist())
    values = list(counts)
    generator.shuffle(values)
    thinned = _all_samples(_events([_metric("Latency", values, [counts[value] for value in values])]), "Latency")
    assert len(thinned) == MAX_SAMPLES_PER_METRIC
    assert thinned == np.sort(samples)[30::60].tolist()  # the middle of each 1/1000 share
    for percentile in (1, 50, 90, 99, 99.8):  # the rank error is at most 1/1000
        low, high = np.percentile(samples, (percentile - 0.1, percentile + 0.1))
        assert low <= np.percentile(thinned, percentile, method="inverted_cdf") <= high
    assert np.isclose(np.mean(thinned), samples.mean(), rtol=0.01)


def test_thinning_takes_the_middle_of_equal_shares() -> None:
    assert thin(range(10), [1] * 10, most=5) == [1, 3, 5, 7, 9]
    assert thin([7.0], [1_000_000], most=3) == [7.0] * 3


def test_no_metric_has_the_name_of_a_dimension() -> None:
    names = {definition.name for definition in DEFINITIONS}
    assert not names & {name for definition in DEFINITIONS for name in (*definition.dimensions, *definition.common)}


def test_a_number_that_json_does_not_allow_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        EmfSink("driftserve", io.StringIO()).emit([_metric("Latency", [float("nan")])])


class FullStream(io.StringIO):
    """A stream on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failing_write_is_a_failed_delivery() -> None:
    metrics = [_metric("Images", [1.0])]
    with pytest.raises(DeliveryError, match="No space left") as raised:
        EmfSink("driftserve", FullStream()).emit(metrics)
    assert raised.value.undelivered == metrics
    assert raised.value.is_permanent
