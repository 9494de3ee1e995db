"""The expressions of a pipeline's definition: checked before anything runs, resolved when their steps have ended.

    {"Get": "Parameters.Epochs"}
    {"Get": "Execution.PipelineExecutionId"}
    {"Get": "Steps.Fetch.ProcessingOutputConfig.Outputs['fetched'].S3Output.S3Uri"}
    {"Std:Join": {"On": "/", "Values": [...]}}
    {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Verdict"}, "Path": "reason"}}

Source: the pipeline definition's JSON schema, https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from driftserve_pipeline.errors import PipelineError

_KEY = re.compile(r"\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\['([^']+)'\]")
_NAMES = ("OutputName", "InputName", "ChannelName")  # by which a list's elements are found


@dataclass(frozen=True)
class Scope:
    """What expressions are about: the same for values and, before there are any, for whatever stands in their place."""

    parameters: Mapping[str, object]
    execution: Mapping[str, object]
    steps: Mapping[str, Mapping[str, Any]]
    """By name of the step, what SageMaker's Describe call says of it; property files under `PropertyFiles`."""


def resolve(tree: Any, scope: Scope) -> Any:
    """The tree, every expression in it replaced by its value.

    >>> steps = {"Train": {"Outputs": [{"OutputName": "a", "At": 7}]}}
    >>> scope = Scope({"Epochs": 3}, {"PipelineExecutionId": "abc"}, steps)
    >>> resolve({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Execution.PipelineExecutionId"}]}}, scope)
    's3://abc'
    >>> resolve({"epochs": {"Get": "Parameters.Epochs"}, "at": [{"Get": "Steps.Train.Outputs['a'].At"}]}, scope)
    {'epochs': 3, 'at': [7]}

    Raises:
        PipelineError: something that it names is not there.
    """
    if isinstance(tree, list):
        return [resolve(item, scope) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match _expression(tree):
        case None:
            return {key: resolve(value, scope) for key, value in tree.items()}
        case "Get", str(path):
            return _get(path, scope)
        case "Std:Join", {"On": str(glue), "Values": list(values)}:
            return glue.join(to_text(resolve(value, scope)) for value in values)
        case "Std:JsonGet", {"PropertyFile": {"Get": str(file)}, "Path": str(path)}:
            return walk(_get(file, scope), keys(path), f"{path} of {file}")
    raise AssertionError("unreachable: expressions are checked as a plan is read")


def check(tree: Any, scope: Scope, place: str) -> None:
    """Refuse what cannot be resolved once the steps have run.

    Args:
        tree: arguments of a step.
        scope: what there will be; of a property file, nothing is known yet.
        place: where the tree stands, for the message.

    Raises:
        PipelineError: an expression is unknown, or names what there will never be.
    """
    for expression in expressions(tree):
        try:
            _check(expression, scope)
        except PipelineError as error:
            raise PipelineError(f"{place}: {error}") from error


def expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression of a tree, those inside of others too.

    >>> [*expressions([{"B": {"Get": "Parameters.A"}}, 1])]
    [{'Get': 'Parameters.A'}]
    """
    if isinstance(tree, dict):
        if _expression(tree):
            yield tree
        for value in tree.values():
            yield from expressions(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from expressions(item)


def steps_named_in(tree: Any) -> set[str]:
    """The steps that have to end before the tree can be resolved.

    >>> steps_named_in({"a": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}, "b": {"Get": "Parameters.C"}})
    {'Train'}
    """
    found = [expression["Get"] for expression in expressions(tree) if isinstance(expression.get("Get"), str)]
    return {path.split(".")[1] for path in found if path.startswith("Steps.")}


def keys(path: str) -> tuple[str | int, ...]:
    """The keys of a path.

    >>> keys("Outputs['fetched'].S3Output[0].S3Uri")
    ('Outputs', 'fetched', 'S3Output', 0, 'S3Uri')
    """
    found: list[str | int] = []
    end = 0
    while (match := _KEY.match(path, end)) is not None:
        name, index, quoted = match.groups()
        found.append(int(index) if index else name or quoted)
        end = match.end()
    if not path or end < len(path):
        raise PipelineError(f"expected a path such as a.b[0]['c'], got {path!r}")
    return tuple(found)


def walk(tree: Any, path: tuple[str | int, ...], whole: str) -> Any:
    """What lies at a path of a tree.

    Raises:
        PipelineError: nothing does.
    """
    for key in path:
        if isinstance(tree, list) and isinstance(key, str):
            tree = {item[name]: item for item in tree for name in _NAMES if name in item}
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError) as error:
            there = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
            raise PipelineError(f"{whole}: expected {key!r} to be there, got {there[:200] or 'nothing'}") from error
    return tree


def to_text(value: object) -> str:
    """A value as it stands in a string.

    >>> to_text(True), to_text(0.003), to_text(32), to_text("a")
    ('true', '0.003', '32', 'a')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expression(tree: dict[str, Any]) -> tuple[str, Any] | None:
    """Name and operand of an expression; None for a plain mapping."""
    for name, operand in tree.items():
        if name == "Get" or name.startswith("Std:"):
            return name, operand
    return None


def _get(path: str, scope: Scope) -> Any:
    kind, *rest = keys(path)
    roots: dict[str | int, Any] = {"Parameters": scope.parameters, "Execution": scope.execution, "Steps": scope.steps}
    return walk(walk(roots, (kind,), path), tuple(rest), path)


def _check(expression: dict[str, Any], scope: Scope) -> None:
    match _expression(expression):
        case "Get", str(path):
            _get(path, scope)
        case "Std:Join", {"On": str(), "Values": list(), **rest} if not rest:
            pass
        case "Std:JsonGet", {"PropertyFile": {"Get": str(file)}, "Path": str(path), **rest} if (
            not rest and "PropertyFiles" in keys(file)
        ):
            keys(path)
        case name, _:
            raise PipelineError(
                f"expected the expressions Get, Std:Join and Std:JsonGet of a property file, got {name} as {expression}"
            )
    if len(expression) != 1:
        raise PipelineError(f"expected an expression to stand alone, got it beside {', '.join(expression)}")
