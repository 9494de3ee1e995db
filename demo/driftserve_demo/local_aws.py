"""A local AWS: moto's server, which an unchanged boto3 calls over real HTTP."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from driftserve.metrics.definitions import Dimensions

Series = tuple[str, Dimensions]  # a metric's name and all its dimensions

_REGION = "eu-central-1"


@dataclass(frozen=True)
class MetricsRead:
    """The metrics that CloudWatch's API returned for a namespace."""

    namespace: str
    metric_names: tuple[str, ...]
    datapoints: int


@contextmanager
def local_aws() -> Iterator[dict[str, str]]:
    """Run the server; yield the environment variables that make boto3 use it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else it logs a line for each call
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
    finally:
        _reset_account(host, port)
        server.stop()


def _reset_account(host: str, port: int) -> None:
    """Empty the account: moto keeps it for the whole process, so the next server would start with its content."""
    connection = HTTPConnection(host, port)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.close()


def read_metrics(
    environment: dict[str, str], namespace: str, series: Iterable[Series], on_series: Callable[[], None] = lambda: None
) -> MetricsRead:
    """Read each series back with GetMetricStatistics; a series without a datapoint does not count.

    ListMetrics does not help here: for a metric with several dimensions moto lists every value,
    in quadratic time (`moto.cloudwatch.models.are_dimensions_same`).
    """
    client = boto3.client(
        "cloudwatch",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(proxies={}),
    )
    now = datetime.now(timezone.utc)
    names: set[str] = set()
    datapoints = 0
    for name, dimensions in series:
        points = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Average", "SampleCount"],
        )["Datapoints"]
        datapoints += len(points)
        names |= {name} if points else set()
        on_series()
    return MetricsRead(namespace, tuple(sorted(names)), datapoints)
