"""The golden pipeline definitions of tests/golden, and functions that read them."""

import json
from collections.abc import Iterator
from typing import Any

from checkout import ROOT
from sagemaker_request_shapes import OPERATIONS

GOLDEN = ROOT / "tests" / "golden"
VARIANTS = {"pipeline.json": (), "pipeline-tuning.json": ("--tuning",)}


def read_golden(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((GOLDEN / name).read_bytes())
    return definition


def find_step(definition: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (step for step in flat(definition["Steps"]) if step["Name"] == name)
    return found


def flat(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        yield from flat(step["Arguments"].get("IfSteps", []) + step["Arguments"].get("ElseSteps", []))


def places(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the place of each expression and the reference that it reads; an argument's place is its flag."""
    if isinstance(value, list):
        for number, part in enumerate(value):
            before = str(value[number - 1]) if number else ""
            yield from places(part, (before,) if before.startswith("--") else (*place, str(number)))
    elif isinstance(value, dict) and "Get" in value:
        yield ".".join(place), value["Get"]
    elif isinstance(value, dict) and "Std:Join" in value:
        for part in value["Std:Join"]["Values"]:
            yield from places(part, place)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from places(part, (*place, name))


def requests(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the type and the resolved request of each step that calls a SageMaker operation."""
    return [
        (step["Type"], resolved(step["Arguments"], definition))
        for step in flat(definition["Steps"])
        if step["Type"] in OPERATIONS
    ]


def inputs(arguments: dict[str, Any]) -> dict[str, Any]:
    return {each["InputName"]: each["S3Input"]["S3Uri"] for each in arguments["ProcessingInputs"]}


def resolved(value: Any, definition: dict[str, Any]) -> Any:
    """Return a value as a job would receive it in an execution with default parameters."""
    if isinstance(value, list):
        return [resolved(part, definition) for part in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        return _got(value["Get"], definition)
    if "Std:Join" in value:
        return value["Std:Join"]["On"].join(str(resolved(part, definition)) for part in value["Std:Join"]["Values"])
    if "Std:JsonGet" in value:
        return "short: 3 of 1000 false alarms" if value["Std:JsonGet"]["Path"].endswith("certificate") else "0.9"
    return {name: resolved(part, definition) for name, part in value.items()}


def _got(reference: str, definition: dict[str, Any]) -> Any:
    kind, name = reference.split(".", 1)
    if kind == "Parameters":
        return {each["Name"]: each["DefaultValue"] for each in definition["Parameters"]}[name]
    if reference.endswith(("S3Uri", "S3ModelArtifacts")):
        return "s3://bucket/key"
    return "abcdefghijkl"
