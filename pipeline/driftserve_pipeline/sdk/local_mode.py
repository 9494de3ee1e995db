"""Run the steps of a pipeline in containers on this machine, with the SDK's local mode."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.sdk.branching import Pipeline
from driftserve_pipeline.sdk.session import CONFIGURATION, Session, imported, prepare
from driftserve_pipeline.settings import PipelineSettings

LOCAL = "local"  # the instance type that stands for this machine


@dataclass(frozen=True)
class LocalExecution:
    """The result of an execution. `failed_step` and `reason` are None if it succeeded."""

    execution_id: str
    failed_step: str | None
    reason: str | None


def open_local_session(settings: PipelineSettings, folder: Path, label: str) -> Session:
    """Return a session that runs jobs as containers with docker-compose.

    boto3 reads the address of the local S3 from the environment.

    Args:
        settings: the source of the region and the bucket.
        folder: folder for the containers' folders while they run.
        label: `<name>=<value>`, a label of every container.

    Raises:
        PipelineError: the SDK is not installed.
    """
    prepare(settings)
    boto3, pipeline_session = imported()
    from sagemaker.mlops.local import LocalPipelineSession

    class ContainerSession(LocalPipelineSession, pipeline_session):  # type: ignore[misc, valid-type]
        """A combination of two SDK sessions: one runs pipelines, the other is required to create their steps."""

        def _intercept_create_request(self, *request: object, **named: object) -> object:
            # Only create the step. LocalPipelineSession would run it immediately.
            return pipeline_session._intercept_create_request(self, *request, **named)

    session: Session = ContainerSession(
        boto_session=boto3.Session(region_name=settings.region),
        default_bucket=settings.bucket,
        sagemaker_config=CONFIGURATION,
    )
    folder.mkdir(parents=True, exist_ok=True)
    session.config = {"local": {"container_root": str(folder), "container_config": {"labels": [label]}}}
    return session


def run_locally(
    session: Session,
    pipeline: Pipeline,
    parameters: Mapping[str, str | int | float],
    watch: Callable[[str], AbstractContextManager[None]],
) -> LocalExecution:
    """Run a pipeline to its end; the containers' logs go to stdout.

    Args:
        session: a session of `open_local_session`.
        pipeline: a pipeline that was created in this session.
        parameters: values of their declared types.
        watch: returns a context manager for a step's name; the step runs inside it.

    Raises:
        PipelineError: local mode refuses the pipeline or a parameter.
    """
    from botocore.exceptions import ClientError
    from sagemaker.mlops.local.pipeline import LocalPipelineExecutor
    from sagemaker.mlops.local.pipeline_entities import _generate_execution_id, _LocalPipelineExecution

    failed: list[str] = []

    class WatchedExecutor(LocalPipelineExecutor):  # type: ignore[misc]
        def _execute_step(self, step: Any) -> None:
            try:
                with watch(step.name):
                    super()._execute_step(step)
            except Exception:
                failed.append(step.name)
                raise

    # Do what LocalPipelineSession does, but with another executor. Pipeline.start calls AWS (sagemaker-mlops 1.27).
    try:
        execution = _LocalPipelineExecution(
            _generate_execution_id(), pipeline, PipelineParameters=dict(parameters), local_session=session
        )
    except ClientError as error:
        raise PipelineError(f"local mode: {error}") from error
    WatchedExecutor(execution, session).execute()
    if execution.status == "Succeeded":
        return LocalExecution(execution.pipeline_execution_name, None, None)
    return LocalExecution(execution.pipeline_execution_name, failed[-1], str(execution.failure_reason))
