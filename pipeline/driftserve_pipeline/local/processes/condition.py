"""Check and evaluate the conditions of a Condition step."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from driftserve_pipeline.errors import PipelineError

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"Equals": operator.eq, "GreaterThanOrEqualTo": operator.ge}
_FIELDS = {"Type", "LeftValue", "RightValue"}


def holds(condition: Mapping[str, Any]) -> bool:
    """Return whether a condition with resolved expressions is true.

    >>> holds({"Type": "GreaterThanOrEqualTo", "LeftValue": 0.9, "RightValue": 0.85})
    True

    Raises:
        PipelineError: the two values cannot be compared.
    """
    left, right = condition["LeftValue"], condition["RightValue"]
    if _kind(left) != _kind(right):
        raise PipelineError(f"expected two values of one kind to compare, got {left!r} and {right!r}")
    return _COMPARISONS[condition["Type"]](left, right)


def check_condition(condition: Mapping[str, Any], place: str) -> None:
    """Raise if a condition is of an unknown type or has other fields.

    >>> check_condition({"Type": "Equals", "LeftValue": 1, "RightValue": {"Get": "Parameters.X"}}, "Decide")

    Raises:
        PipelineError: the type is none of those that our pipeline uses, or the fields are not as expected.
    """
    if condition.get("Type") not in _COMPARISONS or set(condition) != _FIELDS:
        raise PipelineError(f"{place}: expected a condition of type {' or '.join(_COMPARISONS)}, got {condition}")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
