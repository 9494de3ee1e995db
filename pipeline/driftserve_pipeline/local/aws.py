"""The server that replaces S3 and SageMaker's model registry in a local run: moto's, or one at a given URL."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

_LOOPBACK = "127.0.0.1"
_REGION = "eu-central-1"
_OURS = ("AWS_", "DRIFTSERVE_")  # variables that could point a step to the real AWS, or change its settings


@contextmanager
def local_aws(endpoint_url: str | None, address: str = _LOOPBACK) -> Iterator[dict[str, str]]:
    """Yield the variables that point steps to a server. If none is given, run moto's server inside the context.

    Args:
        endpoint_url: URL of the server, or None for moto's.
        address: the address on which moto's server listens.
    """
    if endpoint_url:
        yield _environment(endpoint_url)
        return
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # otherwise it logs a line for each call
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield _environment(f"http://{host}:{port}")
    finally:
        _forget(host, port)
        server.stop()


def make_client(service: str, environment: dict[str, str]) -> Any:
    """Return boto3's client of a service, for the server that the variables point to."""
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(proxies={}),
    )


def _forget(host: str, port: int) -> None:
    """Empty moto's account. The account belongs to the process, so the next server would start with its content."""
    connection = HTTPConnection(host, port)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.close()


def _environment(endpoint_url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return inherited | {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_REGION": _REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": f"{_LOOPBACK},localhost,{urlsplit(endpoint_url).hostname}",
    }
