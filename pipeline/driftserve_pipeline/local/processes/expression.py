"""Check the expressions in a pipeline's definition before a run, and resolve them when their steps have ended.

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
_NAMES = ("OutputName", "InputName", "ChannelName")  # fields that identify an element of a list


@dataclass(frozen=True)
class Scope:
    """The values that expressions can name. Before the steps run, these are placeholders."""

    parameters: Mapping[str, object]
    execution: Mapping[str, object]
    steps: Mapping[str, Mapping[str, Any]]
    """For each step's name, the response of SageMaker's Describe call; property files are under `PropertyFiles`."""


def resolve(tree: Any, scope: Scope) -> Any:
    """Return the tree with every expression replaced by its value.

    >>> steps = {"Train": {"Outputs": [{"OutputName": "a", "At": 7}]}}
    >>> scope = Scope({"Epochs": 3}, {"PipelineExecutionId": "abc"}, steps)
    >>> resolve({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Execution.PipelineExecutionId"}]}}, scope)
    's3://abc'
    >>> resolve({"epochs": {"Get": "Parameters.Epochs"}, "at": [{"Get": "Steps.Train.Outputs['a'].At"}]}, scope)
    {'epochs': 3, 'at': [7]}

    Raises:
        PipelineError: an expression names something that does not exist.
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
    raise AssertionError("unreachable: expressions are checked when a plan is read")


def check(tree: Any, scope: Scope, place: str) -> None:
    """Raise if an expression cannot be resolved even after all steps have run.

    Args:
        tree: arguments of a step.
        scope: the names that will exist. The content of property files is not known yet.
        place: the position of the tree, for the message.

    Raises:
        PipelineError: an expression is unknown, or names something that will never exist.
    """
    for expression in expressions(tree):
        try:
            _check(expression, scope)
        except PipelineError as error:
            raise PipelineError(f"{place}: {error}") from error


def expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every expression of a tree, nested ones too.

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
    """Return the steps that must end before the tree can be resolved.

    >>> steps_named_in({"a": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}, "b": {"Get": "Parameters.C"}})
    {'Train'}
    """
    found = [expression["Get"] for expression in expressions(tree) if isinstance(expression.get("Get"), str)]
    return {path.split(".")[1] for path in found if path.startswith("Steps.")}


def keys(path: str) -> tuple[str | int, ...]:
    """Split a path into its keys.

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
    """Return the value at a path of a tree.

    Raises:
        PipelineError: there is none.
    """
    for key in path:
        if isinstance(tree, list) and isinstance(key, str):
            tree = {item[name]: item for item in tree for name in _NAMES if name in item}
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError) as error:
            there = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
            raise PipelineError(f"{whole}: expected the key {key!r}, got {there[:200] or 'nothing'}") from error
    return tree


def to_text(value: object) -> str:
    """Return a value as text, as it appears inside a string.

    >>> to_text(True), to_text(0.003), to_text(32), to_text("a")
    ('true', '0.003', '32', 'a')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expression(tree: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the name and operand of an expression, or None for a plain mapping."""
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
        raise PipelineError(f"expected an expression as the only key, got {', '.join(expression)}")
