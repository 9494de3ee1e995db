"""Executions of a pipeline, as the account knows them."""

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
    """An execution; `manifest_sha256` is None for one that `start` did not start."""

    arn: str
    name: str
    status: str
    started: datetime
    manifest_sha256: str | None

    @property
    def is_running(self) -> bool:
        """Whether it is not over."""
        return self.status in _RUNNING


def describe_manifest(sha256: str) -> str:
    """The description of an execution, which its manifest is read from again."""
    return f"manifest sha256:{sha256}"


def list_executions(client: Any, pipeline: str) -> Iterator[Execution]:
    """The executions of a pipeline, the newest first.

    Args:
        client: boto3's, for SageMaker.
        pipeline: its name.
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
    """The ARN of an execution that is given by its ARN, its id or its display name; by None the newest.

    Raises:
        PipelineError: there is none.
    """
    if wanted is not None and wanted.startswith("arn:"):
        return wanted
    for execution in list_executions(client, pipeline):
        if wanted is None or wanted in (execution.name, execution.arn.rpartition("/")[2]):
            return execution.arn
    what = "an execution" if wanted is None else f"an execution with the id or name {wanted}"
    raise PipelineError(f"pipeline {pipeline}: expected {what}, got none; `start` starts one")
