"""Clients that send images to an endpoint: over HTTP, or through SageMaker's runtime API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.config
import botocore.exceptions
import urllib3

from driftserve.archive.contract import Contract
from driftserve.observations.observation import TEST_ATTRIBUTE

SUITE_TESTS = 15  # number of tests in tests/endpoint per endpoint


@dataclass(frozen=True)
class Answer:
    """The status, content type and body of an endpoint's response."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Expected:
    """The contract of the archive that an endpoint serves, and the directory of its unpacked files."""

    contract: Contract
    directory: Path


class AnyEndpoint(Protocol):
    """A client of an endpoint. It marks every request as a test, so that no request enters a window."""

    def invoke(self, body: bytes, content_type: str) -> Answer: ...


class HttpEndpoint:
    """A client of a server's port or of a Lambda function URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def invoke(self, body: bytes, content_type: str) -> Answer:
        headers = {"Content-Type": content_type, "X-Amzn-SageMaker-Custom-Attributes": TEST_ATTRIBUTE}
        return self._request("POST", "/invocations", body, headers)

    def ping(self) -> Answer:
        return self._request("GET", "/ping")

    def _request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        response = urllib3.request(method, self.url + path, body=body, headers=headers, retries=False, timeout=70)
        return Answer(response.status, response.headers.get("Content-Type", ""), response.data)


class SageMakerEndpoint:
    """A client of a SageMaker endpoint, in the account and region that boto3 finds.

    AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME can replace the service's URL.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        no_retries = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=70)
        self._runtime = boto3.client("sagemaker-runtime", config=no_retries)

    def invoke(self, body: bytes, content_type: str) -> Answer:
        try:
            response = self._runtime.invoke_endpoint(
                EndpointName=self.name, Body=body, ContentType=content_type, CustomAttributes=TEST_ATTRIBUTE
            )
        except botocore.exceptions.ClientError as error:
            if "OriginalStatusCode" not in error.response:  # the service failed, not the container
                raise
            text = str(error.response["OriginalMessage"]).encode()
            return Answer(int(error.response["OriginalStatusCode"]), "application/json", text)
        return Answer(200, response["ContentType"], response["Body"].read())


def allowed_archives(endpoint: str) -> set[str | None]:
    """Return `DRIFTSERVE_ARCHIVE_SHA256` of every container of a SageMaker endpoint, as the account describes it."""
    sagemaker = boto3.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    models = [sagemaker.describe_model(ModelName=variant["ModelName"]) for variant in variants]
    containers = [container for model in models for container in model.get("Containers") or [model["PrimaryContainer"]]]
    return {_environment(sagemaker, container).get("DRIFTSERVE_ARCHIVE_SHA256") for container in containers}


def _environment(sagemaker: Any, container: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's variables. Those of a registered version are added if the container is made from one."""
    own = dict(container.get("Environment") or {})
    if (package := container.get("ModelPackageName")) is None:
        return own
    described = sagemaker.describe_model_package(ModelPackageName=package)
    (registered,) = described["InferenceSpecification"]["Containers"]
    return {**(registered.get("Environment") or {}), **own}
