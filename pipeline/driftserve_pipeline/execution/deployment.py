"""Read the pipeline's definition in the account, compare it with the rendered one, and replace it."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from driftserve_pipeline.errors import PipelineError


def deployed_definition(client: Any, pipeline: str) -> str | None:
    """Return the definition of a pipeline in the account, as JSON, or None if the pipeline does not exist.

    Args:
        client: boto3's client for SageMaker.
        pipeline: the name of the pipeline.
    """
    try:
        return str(client.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    except ClientError as error:
        if _is_missing(error):
            return None
        raise


def required_definition(client: Any, pipeline: str) -> str:
    """Return the definition of a pipeline in the account, as JSON.

    Raises:
        PipelineError: the pipeline does not exist.
    """
    definition = deployed_definition(client, pipeline)
    if definition is None:
        raise PipelineError(
            f"pipeline {pipeline}: expected it in the account and region, got none; run `upsert`, or correct "
            "DRIFTSERVE_PIPELINE_PIPELINE_NAME or DRIFTSERVE_PIPELINE_REGION"
        )
    return definition


def comparable(definition: str) -> str:
    """Return a definition in the form that is compared: keys sorted, one value per line.

    Raises:
        PipelineError: it is not a JSON object with Steps.
    """
    try:
        read = json.loads(definition)
    except ValueError as error:
        raise PipelineError(f"the pipeline's definition is not JSON: {error}; render it again") from error
    if not isinstance(read, dict) or "Steps" not in read:
        raise PipelineError("expected a pipeline's definition with Steps, got other JSON; render it again")
    return json.dumps(read, sort_keys=True, indent=2) + "\n"


def definition_digest(definition: str) -> str:
    """Return the SHA-256 of a definition, in hexadecimal. Formatting and the order of keys do not change it."""
    return hashlib.sha256(comparable(definition).encode()).hexdigest()


def difference(deployed: str | None, rendered: str) -> str:
    """Return what deploying would change, as a unified diff. It is empty if nothing would change."""
    return "".join(
        difflib.unified_diff(
            comparable(deployed).splitlines(keepends=True) if deployed is not None else [],
            comparable(rendered).splitlines(keepends=True),
            "deployed",
            "rendered",
        )
    )


def deploy(client: Any, pipeline: str, definition: str, role: str, tags: Mapping[str, str]) -> str:
    """Create or update the pipeline in the account, and return its ARN.

    Args:
        client: boto3's client for SageMaker.
        pipeline: the name of the pipeline.
        definition: the definition, as JSON.
        role: the ARN of the role that the pipeline runs as.
        tags: tags to add. Other tags of the pipeline stay.

    Raises:
        PipelineError: the JSON is not a definition, or it was rendered for another pipeline or role. Nothing is
            changed then.
    """
    _check_origin(json.loads(comparable(definition)), pipeline, role)
    written = [{"Key": name, "Value": text} for name, text in tags.items()]
    request = {"PipelineName": pipeline, "PipelineDefinition": definition, "RoleArn": role}
    if deployed_definition(client, pipeline) is None:
        return str(client.create_pipeline(**request, Tags=written)["PipelineArn"])
    arn = str(client.update_pipeline(**request)["PipelineArn"])
    if written:
        client.add_tags(ResourceArn=arn, Tags=written)
    return arn


def _check_origin(definition: dict[str, Any], pipeline: str, role: str) -> None:
    """Raise if a definition was rendered with other settings: its jobs would belong to others, or would not start."""
    expected = {"RoleArn": role, "ExperimentName": pipeline}
    for name, text in _strings(definition):
        if name in expected and text != expected[name]:
            raise PipelineError(
                f"expected a definition with {name} {expected[name]}, got {text}; render it with the same settings"
            )


def _strings(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of every string member in a JSON tree."""
    for name, value in tree.items() if isinstance(tree, dict) else (("", part) for part in tree):
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict | list):
            yield from _strings(value)


def _is_missing(error: ClientError) -> bool:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code == "ResourceNotFound" or "Could not find pipeline" in message  # moto's message
