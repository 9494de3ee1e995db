"""The conditions of a Condition step."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from driftserve.errors import PipelineError

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_FIELDS = {
    "In": ("QueryValue", "Values"),
    "Or": ("Conditions",),
    **dict.fromkeys(_COMPARISONS, ("LeftValue", "RightValue")),
}


def holds(condition: Mapping[str, Any]) -> bool:
    """Whether a condition whose expressions are resolved is true.

    >>> holds({"Type": "GreaterThanOrEqualTo", "LeftValue": 0.9, "RightValue": 0.85})
    True
    >>> never = {"Type": "In", "QueryValue": "c", "Values": ["a", "b"]}
    >>> holds(never), holds({"Type": "Not", "Expression": never}), holds({"Type": "Or", "Conditions": [never, never]})
    (False, True, False)

    Raises:
        PipelineError: the two values cannot be compared.
    """
    match condition["Type"]:
        case "In":
            return condition["QueryValue"] in condition["Values"]
        case "Not":
            return not holds(_negated(condition))
        case "Or":
            return any(holds(inner) for inner in condition["Conditions"])
    left, right = condition["LeftValue"], condition["RightValue"]
    if _kind(left) != _kind(right):
        raise PipelineError(f"expected two values of one kind to compare, got {left!r} and {right!r}")
    return _COMPARISONS[condition["Type"]](left, right)


def check_condition(condition: Mapping[str, Any], place: str) -> None:
    """Refuse a condition that is not known.

    >>> check_condition({"Type": "Equals", "LeftValue": 1, "RightValue": {"Get": "Parameters.X"}}, "Decide")

    Raises:
        PipelineError: its type is unknown, or something of it is missing.
    """
    kind = condition.get("Type")
    if kind == "Not" and (negated := _negated(condition)):
        check_condition(negated, place)
    elif kind not in _FIELDS or set(condition) != {"Type", *_FIELDS[kind]}:
        raise PipelineError(f"{place}: expected a condition out of {', '.join((*_FIELDS, 'Not'))}, got {condition}")
    for inner in condition.get("Conditions", ()):
        check_condition(inner, place)


def _negated(condition: Mapping[str, Any]) -> Any:
    """What a Not is about: the SDK writes `Condition` (sagemaker-core 2.27), the schema says `Expression`."""
    return condition.get("Condition") or condition.get("Expression")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
