"""Approve and reject versions, and roll back to older ones."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from driftserve.text import printable
from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.versions import APPROVED, ModelVersion, answered, describe, list_arns, list_versions

REJECTED = "Rejected"
_MOST_CHARACTERS = 1024  # limit of ApprovalDescription, from botocore's shapes


@dataclass(frozen=True)
class RollBack:
    """The new champion, and the versions that were rejected for it, newest first."""

    champion: ModelVersion
    rejected: tuple[ModelVersion, ...]


def find_version(client: Any, group: str, wanted: str) -> ModelVersion:
    """Return the version of a group with this number or ARN.

    Args:
        client: boto3's client for SageMaker.
        group: the name of the model package group.
        wanted: the number or the ARN.

    Raises:
        PipelineError: there is no such version.
    """
    with answered(f"model package group {group}"):
        arns = list(list_arns(client, group))
    for arn in arns:
        if wanted in (arn, _number(arn)):
            return describe(client, arn)
    known = ", ".join(map(_number, arns[:10])) or "none"
    raise PipelineError(f"model package group {group}: expected version {wanted}, got {known}; `versions` lists them")


def approve(client: Any, s3: Any, version: ModelVersion, reason: str) -> None:
    """Approve a version.

    Args:
        client: boto3's client for SageMaker.
        s3: boto3's client for S3.
        version: the version; its model data must be in S3.
        reason: text to store as the version's ApprovalDescription.

    Raises:
        PipelineError: the model data is missing, or the version is another kind of model.
    """
    description = _described(reason)
    _require_model_data(s3, version)
    _decide(client, version, APPROVED, description)


def reject(client: Any, version: ModelVersion, reason: str) -> None:
    """Reject a version, and store the reason as its ApprovalDescription."""
    _decide(client, version, REJECTED, _described(reason))


def roll_back(client: Any, s3: Any, group: str, to: str | None, reason: str) -> RollBack:
    """Make an older approved version the champion again, by rejecting the newer approved ones.

    The older version is approved again, because the event of its approval deploys it.

    Args:
        client: boto3's client for SageMaker.
        s3: boto3's client for S3.
        group: the name of the model package group.
        to: number or ARN of the older version; by default the approved version before the champion.
        reason: text to store as the ApprovalDescription of the rejected versions, and in that of the new champion.

    Raises:
        PipelineError: there is no such approved version, or its model data is not in S3. Nothing is changed then.
    """
    description = _described(reason)
    approved = [version for version in list_versions(client, group) if version.status == APPROVED]
    older = (
        approved[1:]
        if to is None
        else [version for version in approved[1:] if to in (version.arn, _number(version.arn))]
    )
    if not older:
        what = "an approved version" if to is None else f"an approved version {to}"
        numbers = ", ".join(str(version.version) for version in approved) or "none"
        raise PipelineError(
            f"model package group {group}: expected {what} before the champion, got the approved versions {numbers}; "
            "approve one first"
        )
    champion = older[0]
    _require_model_data(s3, champion)
    rejected = tuple(approved[: approved.index(champion)])
    for version in reversed(rejected):  # the champion last, so that no version in between replaces it
        _decide(client, version, REJECTED, description)
    again = f"rolled back from version {rejected[0].version}: {description}"
    _decide(client, champion, APPROVED, again[:_MOST_CHARACTERS])
    return RollBack(champion, rejected)


def _number(arn: str) -> str:
    """Return the version number at the end of an ARN."""
    return arn.rpartition("/")[2]


def _described(reason: str) -> str:
    description = printable(reason).strip()
    if not 1 <= len(description) <= _MOST_CHARACTERS:
        raise PipelineError(
            f"--reason: expected 1 to {_MOST_CHARACTERS} characters, got {len(description)}; give a reason in one line"
        )
    return description


def _require_model_data(s3: Any, version: ModelVersion) -> None:
    version.require_servable()
    bucket, key = bucket_and_key(version.model_data_url)
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NoSuchBucket"):
            raise
        raise PipelineError(
            f"version {version.version}: expected its model data at {version.model_data_url}, got no such object; "
            "such a version cannot be deployed: reject it, or restore the object"
        ) from error


def _decide(client: Any, version: ModelVersion, status: str, description: str) -> None:
    # Otherwise moto deletes the metadata.
    kept = {"CustomerMetadataProperties": dict(version.metadata)} if version.metadata else {}
    with answered(version.arn):
        client.update_model_package(
            ModelPackageArn=version.arn, ModelApprovalStatus=status, ApprovalDescription=description, **kept
        )
