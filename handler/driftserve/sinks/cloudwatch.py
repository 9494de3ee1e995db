"""Metrics to CloudWatch by PutMetricData, in Values and Counts, so that percentiles can be read."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice
from typing import Any

import boto3
from botocore.config import Config

from driftserve.metrics import Metric

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
MAX_METRICS_PER_CALL = 1000
MAX_VALUES_PER_METRIC = 150
# The limit is 1 MB a call; 150 values and counts with their names make about 10 kB of query string.
MAX_VALUES_PER_CALL = 10_000

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 3, "mode": "standard"})


class CloudWatchSink:
    """Sends metrics with boto3's ordinary credentials, region and endpoint."""

    def __init__(self, namespace: str) -> None:
        """Send to `namespace`. The client is made at the first call, so that AWS cannot fail a start."""
        self._namespace = namespace
        self._client: Any = None  # boto3 makes its client's class at run time

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Put the metrics, in as few calls as the service's limits allow.

        Raises:
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: AWS did not take them.
        """
        if self._client is None:
            self._client = boto3.client("cloudwatch", config=_CONFIG)
        for call in to_calls(metrics):
            self._client.put_metric_data(Namespace=self._namespace, MetricData=call)


def to_calls(metrics: Sequence[Metric]) -> Iterator[list[dict[str, object]]]:
    """The metrics as the MetricData of one PutMetricData call after another, within its limits."""
    call: list[dict[str, object]] = []
    values_in_call = 0
    for metric in metrics:
        for values, counts in _chunks(metric):
            if call and (len(call) >= MAX_METRICS_PER_CALL or values_in_call + len(values) > MAX_VALUES_PER_CALL):
                yield call
                call, values_in_call = [], 0
            call.append(_datum(metric, values, counts))
            values_in_call += len(values)
    if call:
        yield call


def _chunks(metric: Metric) -> Iterator[tuple[list[float], list[float]]]:
    pairs = iter(zip(metric.values, metric.counts, strict=True))
    while chunk := list(islice(pairs, MAX_VALUES_PER_METRIC)):
        yield [value for value, _ in chunk], [float(count) for _, count in chunk]


def _datum(metric: Metric, values: list[float], counts: list[float]) -> dict[str, object]:
    return {
        "MetricName": metric.name,
        "Unit": metric.unit.value,
        "Dimensions": [{"Name": name, "Value": _dimension_value(value)} for name, value in metric.dimensions],
        "Timestamp": datetime.fromtimestamp(metric.timestamp, timezone.utc),
        "Values": values,
        "Counts": counts,
    }


def _dimension_value(text: str) -> str:
    """A label as CloudWatch takes it: ASCII, at most 1,024 characters, not beginning with a colon."""
    return text.encode("ascii", "backslashreplace").decode().lstrip(":")[:1024] or "_"
