"""List and find the executions of a pipeline in the account."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftserve_pipeline.errors import PipelineError

_RUNNING = frozenset({"Executing", "Stopping"})
_MANIFEST = re.compile(r"\bsha256:([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Execution:
    """An execution of the pipeline. `manifest_sha256` is None if it was not started by our command `start`."""

    arn: str
    name: str
    status: str
    started: datetime
    manifest_sha256: str | None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in _RUNNING


def describe_manifest(sha256: str) -> str:
    """Return an execution's description, from which `list_executions` reads the manifest's digest."""
    return f"manifest sha256:{sha256}"


def list_executions(client: Any, pipeline: str) -> Iterator[Execution]:
    """Yield the executions of a pipeline, newest first.

    Args:
        client: boto3's client for SageMaker.
        pipeline: the name of the pipeline.
    """
    pages = client.get_paginator("list_pipeline_executions").paginate(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
    )
    found = [summary for page in pages for summary in page["PipelineExecutionSummaries"]]
    for summary in sorted(found, key=lambda summary: summary["StartTime"], reverse=True):  # moto does not sort
        match = _MANIFEST.search(summary.get("PipelineExecutionDescription") or "")
        yield Execution(
            arn=summary["PipelineExecutionArn"],
            name=summary.get("PipelineExecutionDisplayName") or "",
            status=summary["PipelineExecutionStatus"],
            started=summary["StartTime"],
            manifest_sha256=match[1] if match else None,
        )


def find_execution(client: Any, pipeline: str, wanted: str | None) -> str:
    """Return the ARN of the execution with this ARN, ID or display name, or of the newest execution for None.

    Raises:
        PipelineError: there is no such execution.
    """
    if wanted is not None and wanted.startswith("arn:"):
        return wanted
    for execution in list_executions(client, pipeline):
        if wanted is None or wanted in (execution.name, execution.arn.rpartition("/")[2]):
            return execution.arn
    what = "an execution" if wanted is None else f"an execution with the ID or name {wanted}"
    raise PipelineError(f"pipeline {pipeline}: expected {what}, got none; `start` starts one")
