"""Run the smoke suite through a fake of SageMaker's runtime in front of a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import numpy as np
import pytest
from botocore.exceptions import ClientError

from checkout import ROOT
from driftserve.archive.reading import read_archive
from driftserve.observations.observation import TEST_ATTRIBUTE
from driftserve_pipeline.local.aws import local_aws, make_client
from driftserve_pipeline.registry.registration import Registration, register
from endpoint_clients import SUITE_TESTS
from fake_sagemaker_runtime import MAX_BODY_BYTES, fake_sagemaker_runtime
from model_servers import Endpoint
from sample_images import encode, scene

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_DEFAULT_REGION": "eu-central-1"}


@pytest.fixture(scope="module")
def url(torchserve: Endpoint) -> Iterator[str]:
    with fake_sagemaker_runtime({"driftserve": torchserve.url}) as url:
        yield url


@pytest.fixture(scope="module")
def runtime(url: str) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="fake",
        aws_secret_access_key="fake",  # noqa: S106  # for the fake service
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def account(archive: Path) -> Iterator[dict[str, str]]:
    """Variables of an account whose endpoint is made from a registered version of the archive."""
    with local_aws(None) as aws:
        sagemaker = make_client("sagemaker", aws)
        metadata = {"archive_sha256": read_archive(archive)[1]}
        arn = register(sagemaker, Registration("scenes", "image", "s3://bucket/model.tar.gz", None, metadata))
        role = "arn:aws:iam::111122223333:role/scenes"
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"ModelPackageName": arn})
        variant = {"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(
            EndpointConfigName="c", ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )
        sagemaker.create_endpoint(EndpointName="driftserve", EndpointConfigName="c")
        yield {"AWS_ENDPOINT_URL_SAGEMAKER": aws["AWS_ENDPOINT_URL"], "NO_PROXY": aws["NO_PROXY"]}


def test_the_smoke_suite_passes_through_the_runtime_except_for_the_ping(
    url: str, archive: Path, account: dict[str, str]
) -> None:
    options = ["--sagemaker-endpoint", "driftserve", "--archive", str(archive)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/endpoint", *options],
        cwd=ROOT,
        env=os.environ | CREDENTIALS | account | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert f"{SUITE_TESTS} passed, 1 skipped" in done.stdout.splitlines()[-1], done.stdout
    assert "SageMaker does not expose /ping" in done.stdout


def test_the_test_mark_of_a_request_reaches_the_server(runtime: Any, torchserve: Endpoint) -> None:
    image, before = encode(scene(np.random.default_rng(41))), torchserve.observations()
    for attributes in ({"CustomAttributes": TEST_ATTRIBUTE}, {}):
        runtime.invoke_endpoint(EndpointName="driftserve", ContentType="image/png", Body=image, **attributes)
    assert torchserve.observations() == before + 1


def test_an_error_of_the_server_is_a_model_error_with_its_body(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        runtime.invoke_endpoint(EndpointName="driftserve", ContentType="text/plain", Body=b"hello")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 415
    assert '"UnsupportedMediaType"' in response["OriginalMessage"]
    assert response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/driftserve")
    assert "Received client error (415) from AllTraffic" in response["Error"]["Message"]


def test_an_unknown_endpoint_is_an_error_of_the_service(runtime: Any) -> None:
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="other", ContentType="image/png", Body=b"")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "OriginalStatusCode" not in caught.value.response


def test_a_body_over_the_services_limit_does_not_reach_the_server(runtime: Any) -> None:
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="driftserve", ContentType="image/png", Body=bytes(MAX_BODY_BYTES + 1))
    assert caught.value.response["Error"]["Code"] == "413"
