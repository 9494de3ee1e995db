"""Register a version with boto3, as the step RegisterModel does in an execution of the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.metadata import MOST_CHARACTERS, is_metadata_value
from driftserve_pipeline.registry.versions import (
    ALLOWED_ARCHIVES,
    ARCHIVE_SHA256,
    answered,
    is_missing,
    list_versions,
)

CONTENT_TYPES = ("image/jpeg", "image/png", "application/x-image", "application/json")
RESPONSE_TYPES = ("application/json",)


@dataclass(frozen=True)
class Registration:
    """A version to register; `image` is the Docker image that serves it."""

    group: str
    image: str
    model_data_url: str
    evaluation_url: str | None
    metadata: Mapping[str, str]


def register(client: Any, registration: Registration) -> str:
    """Register a version as PendingManualApproval, unless its model data is already registered; return the ARN.

    Args:
        client: boto3's client for SageMaker.
        registration: the version to register; its group is created if it does not exist.

    Raises:
        PipelineError: SageMaker refuses the request, or would refuse the metadata (moto does not check it).
    """
    _check_metadata(registration.metadata)
    for known in list_versions(client, registration.group):
        if known.model_data_url == registration.model_data_url:
            return known.arn
    with answered(f"model package group {registration.group}"):
        _make_group(client, registration.group)
        return str(client.create_model_package(**registration_request(**vars(registration)))["ModelPackageArn"])


def registration_request(
    *, group: str, image: str, model_data_url: object, evaluation_url: object, metadata: Mapping[str, object]
) -> dict[str, object]:
    """Return the request of CreateModelPackage. A pipeline's RegisterModel takes the same, with expressions as values.

    The container may serve only the archive whose content digest is in the metadata.

    Args:
        group: the name of the model package group.
        image: the Docker image that serves the model.
        model_data_url: the location of model.tar.gz.
        evaluation_url: the location of evaluation.json, or None.
        metadata: facts about the version.
    """
    container: dict[str, object] = {"Image": image, "ModelDataUrl": model_data_url}
    if ARCHIVE_SHA256 in metadata:
        container["Environment"] = {ALLOWED_ARCHIVES: metadata[ARCHIVE_SHA256]}
    request: dict[str, object] = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": list(RESPONSE_TYPES),
        },
        "CustomerMetadataProperties": dict(metadata),
    }
    if evaluation_url is not None:
        statistics = {"ContentType": "application/json", "S3Uri": evaluation_url}
        request["ModelMetrics"] = {"ModelQuality": {"Statistics": statistics}}
    return request


def _make_group(client: Any, group: str) -> None:
    try:
        client.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if not is_missing(error):
            raise
        client.create_model_package_group(ModelPackageGroupName=group)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for name, text in metadata.items():
        if not is_metadata_value(text):
            raise PipelineError(
                f"metadata {name}: expected 1 to {MOST_CHARACTERS} letters, digits and signs that SageMaker accepts, "
                f"got {text[:80]!r}; remove the others"
            )
