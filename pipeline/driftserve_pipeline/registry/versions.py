"""The versions in a model package group, and the champion among them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from driftserve_pipeline.errors import PipelineError

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
    """Empty where it is none of ours, but other than one container with its model data."""
    image: str
    evaluation_url: str | None
    metadata: Mapping[str, str]

    def require_servable(self) -> None:
        """Do nothing where it is one of ours.

        Raises:
            PipelineError: it was registered by other means, as another kind of model.
        """
        if not self.model_data_url:
            raise PipelineError(f"{self.arn}: expected one container with its model data, got another model; reject it")


def list_versions(client: Any, group: str) -> tuple[ModelVersion, ...]:
    """The versions of a group, the newest first; none where there is no such group yet.

    Args:
        client: boto3's, for SageMaker.
        group: the model package group's name.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        return tuple(describe(client, arn) for arn in list_arns(client, group))


def champion(client: Any, group: str) -> ModelVersion | None:
    """The newest approved version of a group, which a new one has to beat; None where none is approved.

    Raises:
        PipelineError: the registry cannot be read, or that version is none of ours.
    """
    newest = newest_approved(client, group)
    if newest is not None:
        newest.require_servable()
    return newest


def newest_approved(client: Any, group: str) -> ModelVersion | None:
    """The same, whatever model it is.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        newest = next(list_arns(client, group, ModelApprovalStatus=APPROVED), None)
        return describe(client, newest) if newest else None


def describe(client: Any, arn: str) -> ModelVersion:
    """The version that a model package is.

    Raises:
        PipelineError: it cannot be read.
    """
    with answered(arn):
        package = client.describe_model_package(ModelPackageName=arn)
    containers = package.get("InferenceSpecification", {}).get("Containers", ())
    container = containers[0] if len(containers) == 1 else {}
    evaluation = package.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri")
    return ModelVersion(
        arn=package["ModelPackageArn"],
        version=int(package["ModelPackageVersion"]),
        status=package["ModelApprovalStatus"],
        created=package["CreationTime"],
        model_data_url=container.get("ModelDataUrl", ""),
        image=container.get("Image", ""),
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


def list_arns(client: Any, group: str, **chosen: str) -> Iterator[str]:
    """The ARNs of a group's versions, the newest first; none where there is no such group yet.

    Args:
        client: boto3's, for SageMaker.
        group: the model package group's name.
        chosen: arguments of ListModelPackages.
    """
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
