"""Run one execution of a plan, step by step, as SageMaker would."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes.condition import holds
from driftserve_pipeline.local.processes.expression import Scope, resolve
from driftserve_pipeline.local.processes.journal import Ended, Journal
from driftserve_pipeline.local.processes.plan import Plan, Step


class Executor(Protocol):
    """Runs a step whose arguments are resolved."""

    def run(self, step: Step, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the step to its end, and return what SageMaker would report about its results.

        Raises:
            PipelineError: the step failed. The message has the reason.
        """

    def restore(self, ended: Ended) -> None:
        """Put the results of a finished step where the next steps look for them."""

    def property_files(self, step: Step, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content of the step's property files."""


Say = Callable[[str], None]  # receives the progress: half a line when a step starts, the other half when it ends


def run_plan(plan: Plan, journal: Journal, executor: Executor, say: Say) -> dict[str, Mapping[str, Any]]:
    """Run every step that the conditions reach. Restore the steps that an earlier attempt has finished.

    Args:
        plan: the steps and the parameters.
        journal: where each step is recorded when it ends.
        executor: runs the steps.
        say: receives the progress when a step starts and when it ends.

    Returns:
        The arguments and results of each step that was reached, by its name.

    Raises:
        PipelineError: a step failed, or is a Fail step. The message has the reason. Later steps have not run.
    """
    execution = {"PipelineExecutionId": plan.execution_id}
    ended: dict[str, Mapping[str, Any]] = {}
    for step in plan.steps:
        if not _is_reached(step, ended):
            continue
        began = time.monotonic()
        say(f"{step.name:<12} ")
        try:
            arguments = resolve(step.arguments, Scope(plan.parameters, execution, ended))
            made, remark = _run(step, arguments, journal, executor)
        except PipelineError as error:
            say(f"{time.monotonic() - began:7.1f} s  failed\n")
            raise PipelineError(f"{step.name}: {error}") from error
        ended[step.name] = {**arguments, **made, "PropertyFiles": executor.property_files(step, arguments)}
        say(f"{time.monotonic() - began:7.1f} s  {remark}".rstrip() + "\n")
    return ended


def _is_reached(step: Step, ended: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether all steps that this step waits for have run, and its condition has the required outcome."""
    if not step.after <= set(ended):
        return False
    if step.branch is None:
        return True
    condition, outcome = step.branch
    return bool(ended[condition]["Outcome"] == str(outcome))


def _run(
    step: Step, arguments: Mapping[str, Any], journal: Journal, executor: Executor
) -> tuple[Mapping[str, Any], str]:
    if step.kind == "Fail":
        raise PipelineError(arguments["ErrorMessage"])
    if step.kind == "Condition":
        outcome = all(holds(condition) for condition in arguments["Conditions"])
        return {"Outcome": str(outcome)}, f"the condition is {str(outcome).lower()}"
    if known := journal.ended(step.name, arguments):
        executor.restore(known)
        return known.made, f"already done, in {known.seconds:.1f} s"
    began = time.monotonic()
    made = executor.run(step, arguments)
    journal.write(Ended(step.name, step.kind, arguments, made, time.monotonic() - began, time.time()))
    metrics = {name: f"{value:.4f}" for name, value in made.get("FinalMetrics", {}).items()}
    chosen = made.get("BestTrainingJob", {}).get("TunedHyperParameters", {})
    return made, ", ".join(f"{name} {value}" for name, value in {**metrics, **chosen}.items())
