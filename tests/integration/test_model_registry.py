"""Register and list versions in the model registry, and find the champion, against moto over HTTP."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from driftserve.settings import Settings
from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry import champion, list_versions
from driftserve_pipeline.registry.metadata import is_metadata_value, metadata_value
from driftserve_pipeline.registry.registration import Registration, register, registration_request
from golden_pipelines import find_step, read_golden

_IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/driftserve:1"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with local_aws() as aws:
        yield boto3.client(
            "sagemaker",
            endpoint_url=aws["AWS_ENDPOINT_URL"],
            region_name=aws["AWS_DEFAULT_REGION"],
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106
        )


def _registration(group: str, run: str) -> Registration:
    place = f"s3://bucket/driftserve/executions/{run}"
    return Registration(
        group, _IMAGE, f"{place}/model/model.tar.gz", f"{place}/evaluation/evaluation.json", {"accuracy": "0.91"}
    )


def test_a_version_is_registered_once_with_all_its_metadata(client: Any) -> None:
    assert list_versions(client, "once") == ()  # the group does not exist yet
    arn = register(client, _registration("once", "a"))
    assert register(client, _registration("once", "a")) == arn
    (version,) = list_versions(client, "once")
    assert (version.arn, version.version, version.status) == (arn, 1, "PendingManualApproval")
    assert version.image == _IMAGE
    assert version.model_data_url == "s3://bucket/driftserve/executions/a/model/model.tar.gz"
    assert version.evaluation_url == "s3://bucket/driftserve/executions/a/evaluation/evaluation.json"
    assert version.metadata == {"accuracy": "0.91"}


def test_a_version_may_serve_only_the_archive_that_was_registered(client: Any) -> None:
    digest = "0123456789abcdef" * 4
    place = "s3://bucket/model.tar.gz"
    arn = register(client, Registration("allowed", _IMAGE, place, None, {"archive_sha256": digest}))
    [container] = client.describe_model_package(ModelPackageName=arn)["InferenceSpecification"]["Containers"]
    assert container["Environment"] == {"DRIFTSERVE_ARCHIVE_SHA256": digest}
    assert Settings.from_environment(container["Environment"]).archive_sha256 == (digest,)
    (version,) = list_versions(client, "allowed")
    assert version.require_archive_sha256() == digest


def test_a_pipeline_registers_with_the_same_request() -> None:
    request = find_step(read_golden("pipeline.json"), "Register")["Arguments"]
    [container] = request["InferenceSpecification"]["Containers"]
    assert request == registration_request(
        group="scenes",
        image=container["Image"],
        model_data_url=container["ModelDataUrl"],
        evaluation_url=request["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"],
        metadata=request["CustomerMetadataProperties"],
    )
    assert container["Environment"] == {
        "DRIFTSERVE_ARCHIVE_SHA256": request["CustomerMetadataProperties"]["archive_sha256"]
    }


def test_the_champion_is_the_newest_approved_version(client: Any) -> None:
    first, second, third = (register(client, _registration("champion", run)) for run in "abc")
    assert champion(client, "champion") is None
    for arn in (second, first):
        client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    best = champion(client, "champion")
    assert best is not None
    assert best.arn == second
    assert [version.arn for version in list_versions(client, "champion")] == [third, second, first]


def test_metadata_that_sagemaker_would_refuse_is_refused_before_the_request(client: Any) -> None:
    line = "13 of 15 corruptions noticed (87 %), 0/20 windows alarmed falsely"
    with pytest.raises(PipelineError, match=r"metadata certificate: expected 1 to 256 letters.*got '13 of 15"):
        register(client, Registration("refused", _IMAGE, "s3://bucket/model.tar.gz", None, {"certificate": line}))
    assert is_metadata_value(metadata_value(line))
    assert metadata_value(line) == "13 of 15 corruptions noticed 87 0/20 windows alarmed falsely"
    assert (metadata_value("()"), len(metadata_value("a" * 300))) == ("none", 256)
    assert list_versions(client, "refused") == ()


def test_an_unreachable_registry_is_a_one_line_error() -> None:
    nowhere = boto3.client(
        "sagemaker",
        endpoint_url="http://127.0.0.1:9",
        region_name="eu-central-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )
    with pytest.raises(PipelineError, match=r"model package group scenes: the request .* failed: .*127.0.0.1:9"):
        champion(nowhere, "scenes")
