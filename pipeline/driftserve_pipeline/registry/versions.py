"""The versions in a model package group, and the champion among them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from driftserve.errors import PipelineError

APPROVED = "Approved"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: what is served, on what, and what is known of it."""

    arn: str
    version: int
    status: str
    """PendingManualApproval, Approved or Rejected."""
    created: datetime
    model_data_url: str
    image: str
    evaluation_url: str | None
    metadata: Mapping[str, str]


def list_versions(client: Any, group: str) -> tuple[ModelVersion, ...]:
    """The versions of a group, the newest first; none where there is no such group yet.

    Args:
        client: boto3's, for SageMaker.
        group: the model package group's name.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        return tuple(describe(client, arn) for arn in _arns(client, group))


def champion(client: Any, group: str) -> ModelVersion | None:
    """The newest approved version of a group, which a new one has to beat; None where none is approved.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        newest = next(_arns(client, group, ModelApprovalStatus=APPROVED), None)
        return describe(client, newest) if newest else None


def describe(client: Any, arn: str) -> ModelVersion:
    """The version that a model package is.

    Raises:
        PipelineError: it is none, or cannot be read.
    """
    with answered(arn):
        package = client.describe_model_package(ModelPackageName=arn)
    containers = package.get("InferenceSpecification", {}).get("Containers", ())
    if len(containers) != 1 or "ModelDataUrl" not in containers[0]:
        raise PipelineError(f"{arn}: expected one container with its model data, got {len(containers)}; reject it")
    evaluation = package.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri")
    return ModelVersion(
        arn=package["ModelPackageArn"],
        version=int(package["ModelPackageVersion"]),
        status=package["ModelApprovalStatus"],
        created=package["CreationTime"],
        model_data_url=containers[0]["ModelDataUrl"],
        image=containers[0]["Image"],
        evaluation_url=evaluation,
        metadata=package.get("CustomerMetadataProperties") or {},
    )


@contextmanager
def answered(place: str) -> Iterator[None]:
    """Every refusal of boto3's inside becomes a PipelineError that names the place."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise PipelineError(
            f"{place}: expected an answer of SageMaker's registry, got: {error}; check name, credentials and network"
        ) from error


def _arns(client: Any, group: str, **chosen: str) -> Iterator[str]:
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", **chosen
    )
    try:
        for page in pages:
            for summary in page["ModelPackageSummaryList"]:
                yield summary["ModelPackageArn"]
    except ClientError as error:
        if not is_missing(error):
            raise


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker says so that what was asked for is not there: it has no code of its own for that."""
    return "not exist" in str(error) or error.response["Error"]["Code"] == "ResourceNotFound"
