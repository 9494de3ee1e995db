"""The definition of the pipeline in the account: read, compared with the rendered one, replaced by it."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from driftserve_pipeline.errors import PipelineError


def deployed_definition(client: Any, pipeline: str) -> str | None:
    """The definition of a pipeline in the account, as JSON; None where there is no such pipeline.

    Args:
        client: boto3's, for SageMaker.
        pipeline: its name.
    """
    try:
        return str(client.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    except ClientError as error:
        if _is_missing(error):
            return None
        raise


def required_definition(client: Any, pipeline: str) -> str:
    """The definition of a pipeline in the account, as JSON.

    Raises:
        PipelineError: there is no such pipeline.
    """
    definition = deployed_definition(client, pipeline)
    if definition is None:
        raise PipelineError(
            f"pipeline {pipeline}: expected it in the account and region, got none; run `upsert`, or correct "
            "DRIFTSERVE_PIPELINE_PIPELINE_NAME or DRIFTSERVE_PIPELINE_REGION"
        )
    return definition


def comparable(definition: str) -> str:
    """A definition in the one way of writing that is compared: keys sorted, a line a value.

    Raises:
        PipelineError: it is no JSON object.
    """
    try:
        read = json.loads(definition)
    except ValueError as error:
        raise PipelineError(f"expected a pipeline's definition as JSON, got: {error}; render it again") from error
    if not isinstance(read, dict) or "Steps" not in read:
        raise PipelineError("expected a pipeline's definition with Steps, got other JSON; render it again")
    return json.dumps(read, sort_keys=True, indent=2) + "\n"


def definition_digest(definition: str) -> str:
    """The SHA-256 of a definition, in hexadecimal, whatever way it is written."""
    return hashlib.sha256(comparable(definition).encode()).hexdigest()


def difference(deployed: str | None, rendered: str) -> str:
    """What deploying would change, as a unified diff; empty where it would change nothing."""
    return "".join(
        difflib.unified_diff(
            comparable(deployed).splitlines(keepends=True) if deployed is not None else [],
            comparable(rendered).splitlines(keepends=True),
            "deployed",
            "rendered",
        )
    )


def deploy(client: Any, pipeline: str, definition: str, role: str, tags: Mapping[str, str]) -> str:
    """The ARN of the pipeline in the account, after it has this definition, role and tags.

    Args:
        client: boto3's, for SageMaker.
        pipeline: its name; it is made where there is none.
        definition: as JSON.
        role: the ARN of the role that it runs as.
        tags: other tags that it has are left alone.

    Raises:
        PipelineError: it is no definition, or that of another pipeline or account; nothing is changed then.
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
    """Refuse what was rendered by other settings: its jobs would be another team's, or could not start."""
    expected = {"RoleArn": role, "ExperimentName": pipeline}
    for name, text in _strings(definition):
        if name in expected and text != expected[name]:
            raise PipelineError(
                f"expected a definition with {name} {expected[name]}, got {text}; render it again by the same settings"
            )


def _strings(tree: Any) -> Iterator[tuple[str, str]]:
    """Every string in JSON that is a member of an object, and the member's name."""
    for name, value in tree.items() if isinstance(tree, dict) else (("", part) for part in tree):
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict | list):
            yield from _strings(value)


def _is_missing(error: ClientError) -> bool:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code == "ResourceNotFound" or "Could not find pipeline" in message  # the latter is moto's
