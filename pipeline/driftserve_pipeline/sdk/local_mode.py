"""The SDK's local mode: the steps of a pipeline in containers of this machine."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.sdk.branching import Pipeline
from driftserve_pipeline.sdk.session import CONFIGURATION, Session, imported, prepare
from driftserve_pipeline.settings import PipelineSettings

LOCAL = "local"  # as an instance type: this machine


@dataclass(frozen=True)
class LocalExecution:
    """How an execution has ended; step and reason are None where it succeeded."""

    execution_id: str
    failed_step: str | None
    reason: str | None


def open_local_session(settings: PipelineSettings, folder: Path, label: str) -> Session:
    """A session whose jobs are containers with a label, by docker-compose; its S3 is where the environment says.

    Args:
        settings: give the region and the bucket.
        folder: where the containers' folders lie while they run.
        label: `<name>=<value>`, by which its containers are found.

    Raises:
        PipelineError: the SDK is not installed.
    """
    prepare(settings)
    boto3, pipeline_session = imported()
    from sagemaker.mlops.local import LocalPipelineSession

    class ContainerSession(LocalPipelineSession, pipeline_session):  # type: ignore[misc, valid-type]
        """Both of the SDK's: one runs pipelines, the other is what their steps have to be drawn in."""

        def _intercept_create_request(self, *request: object, **named: object) -> object:
            # A step is drawn, and not run on the spot, as the first session would.
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
        session: of `open_local_session`.
        pipeline: drawn in it.
        parameters: of their declared types.
        watch: around each step, given its name.

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

    # As LocalPipelineSession would, with another executor; the pipeline's own start asks AWS (sagemaker-mlops 1.27).
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
