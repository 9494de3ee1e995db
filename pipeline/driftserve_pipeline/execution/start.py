"""Start executions: one for each manifest, and only one at a time."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.deployment import definition_digest, required_definition
from driftserve_pipeline.execution.execution import Execution, describe_manifest, list_executions
from driftserve_pipeline.execution.parameter import declared_parameters, locations_of, resolve
from driftserve_pipeline.execution.source import digest_of, list_source

_LOCATIONS = ("TrainLocation", "TestLocation", "AnnotationRelease")
_DIGEST = "SourceDigest"
_EXECUTING = "Executing"


@dataclass(frozen=True)
class Manifest:
    """Everything that an execution depends on: the deployed definition's digest and every parameter."""

    definition_sha256: str
    parameters: Mapping[str, str]
    """They include the sources' digest."""

    @property
    def sha256(self) -> str:
        """Digest of the whole manifest, in hexadecimal."""
        whole = {"definition": self.definition_sha256, "parameters": dict(self.parameters)}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Started:
    """The execution of a manifest: `started` just now, or found as `running` or `succeeded`."""

    arn: str
    case: Literal["started", "running", "succeeded"]
    manifest: Manifest


def read_manifest(sagemaker: Any, s3: Any, pipeline: str, assignments: Iterable[str]) -> Manifest:
    """Return the manifest of an execution that would start now.

    Args:
        sagemaker: boto3's client for SageMaker.
        s3: boto3's client for S3.
        pipeline: the name of the pipeline.
        assignments: values for parameters of the deployed definition, as `name=value`.

    Raises:
        PipelineError: the pipeline does not exist, it has other parameters, or a location is empty.
    """
    definition = required_definition(sagemaker, pipeline)
    declared = declared_parameters(definition)
    if missing := {*_LOCATIONS, _DIGEST} - {parameter.name for parameter in declared}:
        raise PipelineError(
            f"pipeline {pipeline}: expected the parameters {', '.join(sorted(missing))}, got a definition without "
            "them; run `upsert`"
        )
    parameters = resolve([parameter for parameter in declared if parameter.name != _DIGEST], assignments)
    sources = digest_of(list_source(s3, location) for location in locations_of(parameters, _LOCATIONS))
    return Manifest(definition_digest(definition), {**parameters, _DIGEST: sources})


def start(client: Any, pipeline: str, manifest: Manifest, *, again: bool = False) -> Started:
    """Return the running or succeeded execution of a manifest, or start a new one.

    Two starts at the same time make one execution, because both send the token of the manifest's next attempt.

    Args:
        client: boto3's client for SageMaker.
        pipeline: the name of the pipeline.
        manifest: the manifest of the execution.
        again: whether to start a new execution even if one has succeeded.

    Raises:
        PipelineError: an execution of another manifest is running, or one of this manifest is stopping.
    """
    known = list(list_executions(client, pipeline))
    same = [execution for execution in known if execution.manifest_sha256 == manifest.sha256]
    for execution in same:
        if execution.status == _EXECUTING:
            return Started(execution.arn, "running", manifest)
    for execution in known:
        if execution.is_running:
            raise _refusal(execution, "got")
    succeeded = next((execution for execution in same if execution.status == "Succeeded"), None)
    if succeeded is not None and not again:
        return Started(succeeded.arn, "succeeded", manifest)
    arn = _start(client, pipeline, manifest, attempt=len(same) + 1)
    _stop_if_later(client, pipeline, arn)
    return Started(arn, "started", manifest)


def _start(client: Any, pipeline: str, manifest: Manifest, attempt: int) -> str:
    digest = manifest.sha256
    started = client.start_pipeline_execution(
        PipelineName=pipeline,
        PipelineExecutionDisplayName=f"manifest-{digest[:12]}-{attempt}",
        PipelineExecutionDescription=describe_manifest(digest),
        PipelineParameters=[{"Name": name, "Value": text} for name, text in manifest.parameters.items()],
        ClientRequestToken=f"{digest}-{attempt}",
    )
    return str(started["PipelineExecutionArn"])


def _stop_if_later(client: Any, pipeline: str, arn: str) -> None:
    """Stop the new execution if another one started just before it, when neither could see the other yet."""
    running = [execution for execution in list_executions(client, pipeline) if execution.is_running]
    mine = next((execution for execution in running if execution.arn == arn), None)
    for other in running:
        if mine is not None and (other.started, other.arn) < (mine.started, mine.arn):
            if mine.status == _EXECUTING:  # else another process has already stopped it
                client.stop_pipeline_execution(PipelineExecutionArn=arn)
            raise _refusal(other, f"stopped {arn.rpartition('/')[2]} again because of an earlier start:")


def _refusal(running: Execution, got: str) -> PipelineError:
    return PipelineError(
        f"expected no running execution, {got} {running.arn} ({running.name or 'without a name'}, {running.status}); "
        "wait for it with `status --wait`, or stop it"
    )
