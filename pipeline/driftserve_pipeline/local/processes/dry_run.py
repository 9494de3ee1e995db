"""Run the pipeline as processes on this machine. A definition with its parameters identifies an execution."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.aws import local_aws, make_client
from driftserve_pipeline.local.processes.executor import LocalExecutor
from driftserve_pipeline.local.processes.job import Machine, check_job
from driftserve_pipeline.local.processes.journal import Journal
from driftserve_pipeline.local.processes.plan import Plan
from driftserve_pipeline.local.processes.running import Say, run_plan
from driftserve_pipeline.local.run import Result, locked
from driftserve_pipeline.local.storage import Storage, unpack_model


@dataclass(frozen=True)
class DryRun:
    """The inputs of a run."""

    plan: Plan
    work: Path
    """Folder of the executions. Only one of them runs at a time."""
    python: Path
    """The Python to use in place of the training image's."""
    endpoint_url: str | None = None
    """URL of S3 and SageMaker; None: a moto server that lives as long as the run."""
    uploads: tuple[tuple[Path, str], ...] = ()
    """Files to upload to S3 before the run, and their addresses there."""
    again: bool = False
    """Whether to ignore the results of earlier attempts."""


def dry_run(run: DryRun, say: Say, say_waiting: Callable[[], None]) -> Result:
    """Run an execution to its end, and return its result.

    Continue an execution that failed. If it succeeded already, only return its result, unless `again` is set.

    If another process runs the same execution, wait for it and return its result.

    Raises:
        PipelineError: a job of the plan cannot run on this machine.
    """
    for step in run.plan.steps:
        check_job(step.name, step.arguments, run.plan.parameters)
    journal = Journal(run.work / "executions" / run.plan.execution_id)
    before = journal.result()
    waited = False

    def wait() -> None:
        nonlocal waited
        waited = True
        say_waiting()

    with locked(run.work, wait) as lock:
        known = journal.result()
        is_fresh = waited and known != before
        if known and (is_fresh or (known[1].reason is None and not run.again)) and _show(known[1], journal, run.work):
            if not is_fresh:
                say("already done; use --again to run it again, for example after a code change\n")
            return known[1]
        if run.again:
            journal.forget()
        journal.forget_result()
        result = _run(run, journal, lock, say)
        journal.write_result(result)
    return result


def _run(run: DryRun, journal: Journal, lock: int, say: Say) -> Result:
    with local_aws(run.endpoint_url) as environment:
        storage, registry = Storage(make_client("s3", environment)), make_client("sagemaker", environment)
        machine = Machine(storage, run.python, lock, environment)
        executor = LocalExecutor(run.plan.execution_id, journal, machine, registry)
        for file, uri in run.uploads:
            storage.upload(file, uri)
        if run.endpoint_url is None:
            _restore_registry(run.work, executor)
        result = Result(run.plan.execution_id)
        try:
            ended = run_plan(run.plan, journal, executor, say)
        except PipelineError as error:
            return replace(result, reason=str(error))
        for made in ended.values():
            if package := made.get("ModelPackageArn"):
                uri = made["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
                unpack_model(storage, uri, journal.folder / "model")
                result = replace(result, package=package, archive=str(run.work / "model"))
    _show(result, journal, run.work)
    return result


def _show(result: Result, journal: Journal, work: Path) -> bool:
    """Copy an execution's archive, if it has one, to `model` in the work folder; return False if it was deleted."""
    kept, shown = journal.folder / "model", work / "model"
    if result.archive is None:
        return True
    if not kept.is_dir():
        return False
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        copy = shutil.copytree(kept, Path(scratch, "model"))
        shutil.rmtree(shown, ignore_errors=True)
        copy.rename(shown)
    return True


def _restore_registry(work: Path, executor: LocalExecutor) -> None:
    """Register the versions of earlier executions again, in their order, because a new server does not know them."""
    journals = [Journal(folder) for folder in (work / "executions").iterdir() if folder.is_dir()]
    records = [record for journal in journals for record in journal.all_ended() if record.kind == "RegisterModel"]
    for record in sorted(records, key=lambda record: record.at):
        executor.restore(record)
