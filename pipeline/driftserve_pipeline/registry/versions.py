"""Read the versions in a model package group, and find the champion among them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from driftserve_pipeline.errors import PipelineError

APPROVED = "Approved"
ARCHIVE_SHA256 = "archive_sha256"  # the metadata with the content digest of the version's archive
ALLOWED_ARCHIVES = "DRIFTSERVE_ARCHIVE_SHA256"  # the setting of the container: digests of the archives that it serves


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: its model data, the Docker image that serves it, and its metadata."""

    arn: str
    version: int
    status: str
    """PendingManualApproval, Approved or Rejected."""
    created: datetime
    model_data_url: str
    """Empty if the version is not one container with its model data, as driftserve registers it."""
    image: str
    evaluation_url: str | None
    metadata: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the container that serves the version."""

    def require_servable(self) -> None:
        """Check that driftserve can serve the version.

        Raises:
            PipelineError: something else registered it, as another kind of model.
        """
        if not self.model_data_url:
            raise PipelineError(
                f"{self.arn}: expected one container with its model data, got another kind of model; reject it"
            )

    def require_archive_sha256(self) -> str:
        """Return the content digest with which the archive was registered.

        The container's environment has it. Older versions of driftserve wrote it only into the metadata.

        Raises:
            PipelineError: there is no digest, or the two differ.
        """
        written = {
            place[name]
            for place, name in ((self.environment, ALLOWED_ARCHIVES), (self.metadata, ARCHIVE_SHA256))
            if name in place
        }
        if len(written) != 1:
            raise PipelineError(
                f"{self.arn}: expected one content digest, as {ALLOWED_ARCHIVES} of its container and as its metadata "
                f"{ARCHIVE_SHA256}, got {' and '.join(sorted(written)) or 'none'}; reject that version, and register "
                "the archive again"
            )
        return written.pop()


def list_versions(client: Any, group: str) -> tuple[ModelVersion, ...]:
    """Return the versions of a group, newest first. A group that does not exist yet has none.

    Args:
        client: boto3's client for SageMaker.
        group: the name of the model package group.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        return tuple(describe(client, arn) for arn in list_arns(client, group))


def champion(client: Any, group: str) -> ModelVersion | None:
    """Return the newest approved version of a group, which a new version must beat; None if no version is approved.

    Raises:
        PipelineError: the registry cannot be read, or that version is another kind of model.
    """
    newest = newest_approved(client, group)
    if newest is not None:
        newest.require_servable()
    return newest


def newest_approved(client: Any, group: str) -> ModelVersion | None:
    """Return the newest approved version of a group, whatever its kind of model; None if no version is approved.

    Raises:
        PipelineError: the registry cannot be read.
    """
    with answered(f"model package group {group}"):
        newest = next(list_arns(client, group, ModelApprovalStatus=APPROVED), None)
        return describe(client, newest) if newest else None


def describe(client: Any, arn: str) -> ModelVersion:
    """Read the version with this ARN.

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
        environment=container.get("Environment") or {},
    )


@contextmanager
def answered(place: str) -> Iterator[None]:
    """Context manager that turns errors of boto3 into a PipelineError whose message starts with the place."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise PipelineError(
            f"{place}: the request to the model registry failed: {error}; check name, credentials and network"
        ) from error


def list_arns(client: Any, group: str, **chosen: str) -> Iterator[str]:
    """Yield the ARNs of a group's versions, newest first. A group that does not exist yet has none.

    Args:
        client: boto3's client for SageMaker.
        group: the name of the model package group.
        chosen: more arguments of ListModelPackages.
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
    """Return whether an error says that something does not exist, for which SageMaker has no single error code."""
    return "not exist" in str(error) or error.response["Error"]["Code"] == "ResourceNotFound"
