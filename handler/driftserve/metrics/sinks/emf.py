"""Metrics as lines of CloudWatch's Embedded Metric Format (EMF), which CloudWatch Logs turns into metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TextIO

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import Dimensions, Metric
from driftserve.metrics.sinks.dimension import dimension_value

# The specification: most metrics in a directive, most values in an array.
MAX_METRICS_PER_LINE = 100
MAX_VALUES_PER_ARRAY = 100
# PIPE_BUF of Linux: a longer write may be torn by what the model server writes to the same pipe (pipe(7)).
# An array that alone is longer still stays under the 256 kB that CloudWatch Logs takes (1 MB in newer documents).
MAX_LINE_BYTES = 4096
# Ours: EMF has no counts, so each sample is written out, and a log is paid by the byte.
MAX_SAMPLES_PER_METRIC = 1000


class EmfSink:
    """Writes pure JSON lines to a stream that goes to CloudWatch Logs, with nothing before or after.

    A metric with more than `MAX_SAMPLES_PER_METRIC` samples in a period is thinned to as many equally spaced
    quantiles. Its percentiles and mean stay near; its SampleCount and Sum become those of the thinned samples,
    and its extremes are lost. Counts are single values, and exact.
    """

    name = "emf"

    def __init__(self, namespace: str, stream: TextIO) -> None:
        """Write metrics of `namespace` to `stream`."""
        self._namespace = namespace
        self._stream = stream

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Write the metrics, a line at a time.

        Raises:
            DeliveryError: the stream cannot be written to. What it took before is not known.
        """
        try:
            for line in to_lines(self._namespace, metrics):
                self._stream.write(line + "\n")
                self._stream.flush()
        except OSError as error:
            raise DeliveryError(f"the stream cannot be written to: {error}", metrics, is_permanent=True) from error


def to_lines(namespace: str, metrics: Sequence[Metric]) -> Iterator[str]:
    """The metrics as EMF events; those with the same dimensions and timestamp share a line, within its limits."""
    groups: dict[tuple[Dimensions, float], list[Metric]] = {}
    for metric in metrics:
        groups.setdefault((metric.dimensions, metric.timestamp), []).append(metric)
    for (dimensions, timestamp), group in groups.items():
        shared: list[_Array] = []
        line = ""
        for array in chain.from_iterable(map(_arrays, group)):
            longer = _event(namespace, dimensions, timestamp, [*shared, array])
            is_there = any(array.name == other.name for other in shared)
            if shared and (is_there or len(shared) >= MAX_METRICS_PER_LINE or len(longer) >= MAX_LINE_BYTES):
                yield line
                shared, longer = [], _event(namespace, dimensions, timestamp, [array])
            shared.append(array)
            line = longer
        yield line


def thin(values: Sequence[float], counts: Sequence[int], most: int) -> list[float]:
    """The samples one by one; where there are more than `most`, that many equally spaced quantiles of them.

    >>> thin((1.0, 2.0), (1, 3), most=10)
    [1.0, 2.0, 2.0, 2.0]
    >>> thin((1.0, 2.0, 9.0), (500, 499, 1), most=4)
    [1.0, 1.0, 2.0, 2.0]
    """
    ordered = sorted(zip(values, counts, strict=True))
    ends = list(accumulate(count for _, count in ordered))
    total = ends[-1]
    size = min(total, most)
    return [ordered[bisect_right(ends, (2 * index + 1) * total // (2 * size))][0] for index in range(size)]


@dataclass(frozen=True)
class _Array:
    """Some samples of a metric, as many as a line takes."""

    name: str
    unit: str
    samples: list[float]


def _arrays(metric: Metric) -> Iterator[_Array]:
    samples = thin(metric.values, metric.counts, MAX_SAMPLES_PER_METRIC)
    for start in range(0, len(samples), MAX_VALUES_PER_ARRAY):
        yield _Array(metric.name, metric.unit.value, samples[start : start + MAX_VALUES_PER_ARRAY])


def _event(namespace: str, dimensions: Dimensions, timestamp: float, arrays: Sequence[_Array]) -> str:
    directive = {
        "Namespace": namespace,
        "Dimensions": [[name for name, _ in dimensions]],
        "Metrics": [{"Name": array.name, "Unit": array.unit} for array in arrays],
    }
    event: dict[str, object] = {"_aws": {"Timestamp": round(timestamp * 1000), "CloudWatchMetrics": [directive]}}
    event |= {name: dimension_value(value) for name, value in dimensions}
    event |= {array.name: array.samples if len(array.samples) > 1 else array.samples[0] for array in arrays}
    return json.dumps(event, separators=(",", ":"), allow_nan=False)
