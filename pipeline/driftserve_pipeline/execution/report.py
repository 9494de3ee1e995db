"""The progress of an execution, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_JOBS = ("ProcessingJob", "TrainingJob", "TuningJob")
_OVER = frozenset({"Succeeded", "Failed", "Stopped", "CompletedWithFailures"})


@dataclass(frozen=True)
class StepReport:
    """A step of an execution.

    `job` is the ARN of its job. `cached_from` is the ARN of the execution whose cached result it reuses.
    """

    name: str
    status: str
    started: datetime | None
    ended: datetime | None
    attempts: int
    cached_from: str | None
    failure_reason: str | None
    job: str | None


@dataclass(frozen=True)
class ExecutionReport:
    """An execution and its started steps, in order."""

    arn: str
    name: str
    status: str
    created: datetime
    modified: datetime
    failure_reason: str | None
    steps: tuple[StepReport, ...]

    @property
    def is_over(self) -> bool:
        """Whether the execution has ended."""
        return self.status in _OVER


def read_report(client: Any, arn: str) -> ExecutionReport:
    """Read the progress of an execution.

    Args:
        client: boto3's client for SageMaker.
        arn: the ARN of the execution.
    """
    execution = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    pages = client.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    return ExecutionReport(
        arn=arn,
        name=execution.get("PipelineExecutionDisplayName") or "",
        status=execution["PipelineExecutionStatus"],
        created=execution["CreationTime"],
        modified=execution["LastModifiedTime"],
        failure_reason=execution.get("FailureReason") or None,
        steps=tuple(_step(step) for page in pages for step in page["PipelineExecutionSteps"]),
    )


def wait(read: Callable[[], ExecutionReport], sleep: Callable[[], None], say: Callable[[str], None]) -> ExecutionReport:
    """Wait until an execution has ended, and return its report.

    Args:
        read: returns the current report.
        sleep: pauses between two reads.
        say: receives each new status of a step once, as a line.
    """
    reported: set[tuple[str, str]] = set()
    while True:
        report = read()
        for step in report.steps:
            if (step.name, step.status) not in reported:
                reported.add((step.name, step.status))
                say(f"{step.name}: {step.status}")
        if report.is_over:
            return report
        sleep()


def _step(step: dict[str, Any]) -> StepReport:
    metadata = step.get("Metadata", {})
    return StepReport(
        name=step["StepName"],
        status=step["StepStatus"],
        started=step.get("StartTime"),
        ended=step.get("EndTime"),
        attempts=step.get("AttemptCount") or 1,
        cached_from=step.get("CacheHitResult", {}).get("SourcePipelineExecutionArn"),
        failure_reason=step.get("FailureReason") or metadata.get("Fail", {}).get("ErrorMessage"),
        job=next((metadata[kind]["Arn"] for kind in _JOBS if kind in metadata), None),
    )
