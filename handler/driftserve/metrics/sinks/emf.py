"""Writes metrics in CloudWatch's Embedded Metric Format (EMF): log lines that CloudWatch Logs turns into metrics.

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
from driftserve.text import dimension_value

# Limits of the EMF specification: most metrics in a directive, most values in an array.
MAX_METRICS_PER_LINE = 100
MAX_VALUES_PER_ARRAY = 100
# Linux writes up to this many bytes to a pipe in one piece (PIPE_BUF, pipe(7)). The model server writes to the same
# pipe, and its output may end up within a longer line. A line with a single array may be longer, but stays below
# CloudWatch Logs' limit of 256 kB (1 MB in newer documents).
MAX_LINE_BYTES = 4096
# Our own limit. EMF has no counts, so a line contains every single sample, and logs are billed by the byte.
MAX_SAMPLES_PER_METRIC = 1000


class EmfSink:
    """Writes lines of pure JSON to a stream that goes to CloudWatch Logs.

    If a metric has more than `MAX_SAMPLES_PER_METRIC` samples in a period, the sink writes that many equally spaced
    quantiles instead. Then percentiles and mean are nearly right, SampleCount and Sum are those of the quantiles, and
    the extremes are lost. Metrics that are counts have a single sample and stay exact.
    """

    name = "emf"

    def __init__(self, namespace: str, stream: TextIO) -> None:
        """Write metrics of `namespace` to `stream`."""
        self._namespace = namespace
        self._stream = stream

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Write the metrics line by line.

        Raises:
            DeliveryError: The stream cannot be written to. It is unknown how many metrics it accepted before.
        """
        try:
            for line in to_lines(self._namespace, metrics):
                self._stream.write(line + "\n")
                self._stream.flush()
        except OSError as error:
            raise DeliveryError(f"cannot write to the stream: {error}", metrics, is_permanent=True) from error


def to_lines(namespace: str, metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield the metrics as EMF events. Metrics with the same dimensions and timestamp share a line if they fit."""
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
    """Return all samples, or `most` equally spaced quantiles of them if there are more.

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
    """Samples of one metric in one line."""

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
