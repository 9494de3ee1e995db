"""Sends metrics to CloudWatch by PutMetricData, as Values and Counts, so that CloudWatch can compute percentiles."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import Metric
from driftserve.text import dimension_value

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
MAX_METRICS_PER_CALL = 1000
MAX_VALUES_PER_METRIC = 150
# CloudWatch's limit is 1 MB a call. A value of three digits and its count take at most 20 bytes of JSON, so the values
# of a call take at most 0.2 MB.
MAX_VALUES_PER_CALL = 10_000

# Two attempts, since AWS may have closed the connection that is kept alive. The publisher, not botocore, waits between
# retries.
_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})

# Codes of errors with status 400 that are not caused by the metrics, so a retry can succeed.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CommonErrors.html
_WORTH_A_RETRY = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "LimitExceededException",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestTimeout",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "UnrecognizedClientException",
    }
)


class CloudWatchSink:
    """Sends metrics with boto3's ordinary credentials, region and endpoint."""

    name = "cloudwatch"

    def __init__(self, namespace: str) -> None:
        """Send to `namespace`. The first call creates the client, so that AWS problems cannot prevent a start."""
        self._namespace = namespace
        self._client: Any = None  # boto3 creates its client's class at run time

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Put the metrics, in as few calls as the service's limits allow.

        A call that AWS accepted counts as undelivered if its response was lost. PutMetricData has no idempotency token,
        so a retry then counts twice.

        Raises:
            DeliveryError: AWS did not accept some of the metrics. The error is permanent if AWS rejected these metrics
                as invalid and accepted all others.
        """
        calls = list(to_calls(metrics))
        refused: list[Metric] = []
        reason: Exception | None = None
        for number, call in enumerate(calls):
            try:
                self._put(call)
            except (BotoCoreError, ClientError) as error:
                if not _is_permanent(error):
                    self._client = None  # only a new client looks for credentials again
                    rest = list(chain(refused, *calls[number:]))
                    raise DeliveryError(
                        f"CloudWatch did not accept the metrics: {error}", rest, is_permanent=False
                    ) from error
                refused += call
                reason = error
        if reason is not None:
            raise DeliveryError(f"CloudWatch rejected the metrics: {reason}", refused, is_permanent=True) from reason

    def _put(self, call: Sequence[Metric]) -> None:
        if self._client is None:
            session = boto3.Session()
            # SageMaker and Lambda set AWS_REGION, which boto3 does not read.
            region = session.region_name or os.environ.get("AWS_REGION")
            self._client = session.client("cloudwatch", region, config=_CONFIG)
        self._client.put_metric_data(Namespace=self._namespace, MetricData=[to_datum(metric) for metric in call])


def to_calls(metrics: Sequence[Metric]) -> Iterator[list[Metric]]:
    """Yield the metrics of each PutMetricData call. Metrics with too many values are split."""
    call: list[Metric] = []
    values_in_call = 0
    for part in chain.from_iterable(map(_parts, metrics)):
        if call and (len(call) >= MAX_METRICS_PER_CALL or values_in_call + len(part.values) > MAX_VALUES_PER_CALL):
            yield call
            call, values_in_call = [], 0
        call.append(part)
        values_in_call += len(part.values)
    if call:
        yield call


def to_datum(metric: Metric) -> dict[str, object]:
    """Return the metric as an item of MetricData."""
    return {
        "MetricName": metric.name,
        "Unit": metric.unit.value,
        "Dimensions": [{"Name": name, "Value": dimension_value(value)} for name, value in metric.dimensions],
        "Timestamp": datetime.fromtimestamp(metric.timestamp, timezone.utc),
        "Values": list(metric.values),
        "Counts": [float(count) for count in metric.counts],
    }


def _parts(metric: Metric) -> Iterator[Metric]:
    for start in range(0, len(metric.values), MAX_VALUES_PER_METRIC):
        part = slice(start, start + MAX_VALUES_PER_METRIC)
        yield replace(metric, values=metric.values[part], counts=metric.counts[part])


def _is_permanent(error: BotoCoreError | ClientError) -> bool:
    """Return whether AWS would always reject these metrics, because they are invalid."""
    if not isinstance(error, ClientError):
        return isinstance(error, ParamValidationError)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response["Error"]["Code"]
    return 400 <= status < 500 and status not in (403, 429) and code not in _WORTH_A_RETRY
