"""Read the logs of a step's containers from CloudWatch."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.report import ExecutionReport, StepReport

_GROUPS = {  # for each kind of job: its log group in CloudWatch
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "training-job": "/aws/sagemaker/TrainingJobs",
    "hyper-parameter-tuning-job": "/aws/sagemaker/TrainingJobs",
}


@dataclass(frozen=True)
class LogLine:
    """A log line, with its time and its container."""

    written: datetime
    host: str
    text: str


def step_of(report: ExecutionReport, name: str) -> StepReport:
    """Return the step of an execution with this name.

    Raises:
        PipelineError: the step does not exist or has not started.
    """
    for step in report.steps:
        if step.name == name:
            return step
    known = ", ".join(step.name for step in report.steps) or "none"
    raise PipelineError(f"expected a started step {name}, got {known}; correct --step, or wait")


def read_logs(client: Any, step: StepReport) -> tuple[LogLine, ...]:
    """Return the log lines of all containers of a step, oldest first. A search includes all its trainings.

    Args:
        client: boto3's client for CloudWatch Logs.
        step: a step with a job.

    Raises:
        PipelineError: the step has no job, or no logs yet.
    """
    if step.cached_from is not None:
        raise PipelineError(
            f"step {step.name}: expected a job, got the cached result of {step.cached_from}; read the logs there"
        )
    kind, _, job = (step.job or "").rpartition(":")[2].partition("/")
    if kind not in _GROUPS:
        raise PipelineError(f"step {step.name}: expected a job that writes logs, got {step.job or 'none'}")
    prefix = f"{job}-" if kind == "hyper-parameter-tuning-job" else f"{job}/"  # a search's jobs are <job>-001-<...>
    events = client.get_paginator("filter_log_events").paginate(logGroupName=_GROUPS[kind], logStreamNamePrefix=prefix)
    try:
        lines = [
            _line(event)
            for page in events
            for event in page["events"]
            if event["logStreamName"].startswith(prefix)  # moto returns the whole group
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        lines = []
    if not lines:
        raise PipelineError(f"step {step.name}: expected logs of {job} in {_GROUPS[kind]}, got none; try again later")
    return tuple(sorted(lines, key=lambda line: line.written))


def _line(event: dict[str, Any]) -> LogLine:
    written = datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc)
    return LogLine(written, event["logStreamName"].rpartition("/")[2], event["message"])
