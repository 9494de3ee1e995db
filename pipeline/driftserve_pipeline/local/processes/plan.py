"""Read a pipeline's definition, and check all of it before any step runs."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.parameter import declared_parameters, resolve
from driftserve_pipeline.local.processes.condition import check_condition
from driftserve_pipeline.local.processes.expression import Scope, check, steps_named_in
from driftserve_pipeline.local.processes.source import digest_of, release_here, with_digest
from driftserve_pipeline.local.processes.tuning import searched

_READERS: dict[str, Callable[[str], object]] = {"String": str, "Integer": int, "Float": float}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # SageMaker's own; a step has a folder with its name
_KINDS = ("Processing", "Training", "Tuning", "Condition", "RegisterModel", "Fail")
# Fields where SageMaker requires a string, and refuses a parameter that is a number.
_STRINGS = (
    "ContainerArguments",
    "ContainerEntrypoint",
    "HyperParameters",
    "StaticHyperParameters",
    "Environment",
    "S3Uri",
    "S3OutputPath",
)


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file in an output of a Processing step that expressions may read."""

    name: str
    output: str
    path: str


@dataclass(frozen=True)
class Step:
    """A step: its kind, its unresolved arguments, and the steps that must end before it.

    `branch` names the Condition step that contains this step, and the outcome for which this step runs.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    after: frozenset[str]
    property_files: tuple[PropertyFile, ...] = ()
    branch: tuple[str, bool] | None = None


@dataclass(frozen=True)
class Plan:
    """The steps in their running order, and the parameters' values."""

    steps: tuple[Step, ...]
    parameters: Mapping[str, object]
    execution_id: str
    """ID of the execution: the same for the same definition, values and files, on any machine and at any time."""


def read_plan(definition: bytes, assignments: Iterable[str], files: Iterable[Path] = ()) -> Plan:
    """Return the plan of a definition (JSON), with parameters as `name=value`. More files change the execution ID.

    Raises:
        PipelineError: a parameter, a step or an expression is unknown, or steps wait for each other.
    """
    try:
        tree = json.loads(definition)
        declared, requests = declared_parameters(definition.decode()), tree["Steps"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"cannot read the pipeline's definition: {error!r}; give one that `driftserve-pipeline render` writes"
        ) from error
    types = {parameter.name: parameter.kind for parameter in declared}
    if odd := sorted(set(types.values()) - set(_READERS)):
        raise PipelineError(f"expected parameters of the types {', '.join(_READERS)}, got {odd[0]}")
    values = with_digest(resolve(declared, assignments))
    parameters = {name: _READERS[types.get(name, "String")](text) for name, text in values.items()}
    steps = tuple(_flattened(requests, None))
    _check(steps, parameters, types)
    identity = json.dumps([tree, parameters, digest_of((*files, *release_here(values)))], sort_keys=True)
    return Plan(_ordered(steps), parameters, hashlib.sha256(identity.encode()).hexdigest()[:12])


def _flattened(requests: list[dict[str, Any]], branch: tuple[str, bool] | None) -> Iterator[Step]:
    """Yield every step of a list, and the steps in the branches of its Condition steps."""
    for request in requests:
        name, kind, arguments = request["Name"], request["Type"], dict(request["Arguments"])
        if not _NAME.fullmatch(name):
            raise PipelineError(f"expected names of steps that match {_NAME.pattern}, got {name!r}; rename the step")
        if kind not in _KINDS:
            raise PipelineError(f"{name}: expected a step of one of the types {', '.join(_KINDS)}, got {kind}")
        branches = {True: arguments.pop("IfSteps", []), False: arguments.pop("ElseSteps", [])}
        waits = request.get("DependsOn", [])
        if not all(isinstance(other, str) for other in waits):
            raise PipelineError(f"{name}: expected DependsOn to name steps, got {waits}")
        files = tuple(
            PropertyFile(file["PropertyFileName"], file["OutputName"], file["FilePath"])
            for file in request.get("PropertyFiles", [])
        )
        after = frozenset(waits) | steps_named_in(arguments) | ({branch[0]} if branch else set())
        yield Step(name, kind, arguments, after, files, branch)
        for outcome, inner in branches.items():
            yield from _flattened(inner, (name, outcome))


def _check(steps: tuple[Step, ...], parameters: Mapping[str, object], types: Mapping[str, str]) -> None:
    scope = Scope(parameters, {"PipelineExecutionId": ""}, {step.name: _placeholders(step) for step in steps})
    if len(scope.steps) != len(steps):
        raise PipelineError(f"expected a unique name for every step, got {[step.name for step in steps]}")
    for step in steps:
        if unknown := step.after - set(scope.steps):
            raise PipelineError(f"{step.name}: expected to wait for steps of this pipeline, got {sorted(unknown)[0]!r}")
        check(step.arguments, scope, step.name)
        _check_strings(step.arguments, types, step.name)
        if step.kind == "Condition":
            for condition in step.arguments["Conditions"]:
                check_condition(condition, step.name)


def _placeholders(step: Step) -> dict[str, Any]:
    """Return placeholders for what SageMaker will report about a finished step, as far as expressions can name it."""
    made: dict[str, Any] = {"PropertyFiles": {file.name: None for file in step.property_files}}
    if step.kind == "Processing":
        made["ProcessingJobName"] = ""
    elif step.kind == "Training":
        made |= {"TrainingJobName": "", "ModelArtifacts": {"S3ModelArtifacts": ""}}
    elif step.kind == "Tuning":
        made["BestTrainingJob"] = {"TunedHyperParameters": dict.fromkeys(searched(step.name, step.arguments), "")}
    elif step.kind == "RegisterModel":
        made["ModelPackageArn"] = ""
    elif step.kind == "Condition":
        made["Outcome"] = ""
    return {**step.arguments, **made}


def _check_strings(tree: Any, types: Mapping[str, str], place: str) -> None:
    """Raise if a parameter that is a number stands where SageMaker requires a string.

    The SDK's `to_string()` wraps such a parameter into a Std:Join. Without it, StartPipelineExecution would answer:
    Cannot assign property reference [Parameters.X] to argument of type [String].
    """
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if key not in _STRINGS:
            _check_strings(value, types, place)
            continue
        candidates = [value] if "Get" in value else value.values() if isinstance(value, dict) else value
        for candidate in candidates if not isinstance(value, str) else ():
            path = candidate.get("Get", "") if isinstance(candidate, dict) else ""
            name = path.removeprefix("Parameters.")
            if path != name and types.get(name) != "String":
                raise PipelineError(
                    f"{place}: expected a string in {key}, got {path}, which is of type {types.get(name)}; "
                    "write it with .to_string()"
                )


def _ordered(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Sort the steps, so that each follows the steps that it waits for; otherwise keep the definition's order."""
    left, ordered = list(steps), list[Step]()
    while left:
        ended = {step.name for step in ordered}
        ready = next((step for step in left if step.after <= ended), None)
        if ready is None:
            raise PipelineError(f"expected no step to wait for itself, got {', '.join(step.name for step in left)}")
        left.remove(ready)
        ordered.append(ready)
    return tuple(ordered)
