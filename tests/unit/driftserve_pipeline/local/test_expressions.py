"""Tests of how the local runner evaluates a definition's expressions, and which it refuses."""

from typing import Any

import pytest

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes.condition import check_condition, holds
from driftserve_pipeline.local.processes.expression import Scope, check, resolve, steps_named_in
from driftserve_pipeline.local.processes.plan import read_plan
from small_pipelines import definition, fail, get, json_get

VERDICT = {"accuracy": 0.9, "names": [{"of it": "sea"}], "is_better": True}
SCOPE = Scope(
    {"Epochs": 3, "Rate": 0.00003, "Spot": True, "Place": "s3://a"},
    {"PipelineExecutionId": "abc"},
    {
        "Fetch": {
            "ProcessingOutputConfig": {
                "Outputs": [
                    {"OutputName": "other", "S3Output": {"S3Uri": "s3://o"}},
                    {"OutputName": "fetched", "S3Output": {"S3Uri": "s3://f"}},
                ]
            },
            "PropertyFiles": {"Verdict": VERDICT},
        },
        "Train-it": {"ModelArtifacts": {"S3ModelArtifacts": "s3://m"}},
    },
)


def _join(glue: str, *values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": glue, "Values": list(values)}}


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (get("Parameters.Epochs"), 3),  # a number stays a number
        (get("Execution.PipelineExecutionId"), "abc"),
        (get("Steps.Train-it.ModelArtifacts.S3ModelArtifacts"), "s3://m"),
        (get("Steps.Fetch.ProcessingOutputConfig.Outputs['fetched'].S3Output.S3Uri"), "s3://f"),
        (get("Steps.Fetch.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri"), "s3://o"),
        (_join("", get("Parameters.Rate")), "3e-05"),
        (_join("-", get("Parameters.Spot"), get("Parameters.Epochs"), "x"), "true-3-x"),
        (_join("/", get("Parameters.Place"), _join("", "b", get("Parameters.Epochs"))), "s3://a/b3"),
        (json_get("Fetch", "Verdict", "accuracy"), 0.9),
        (json_get("Fetch", "Verdict", "names[0]['of it']"), "sea"),
        (_join(": ", "why", json_get("Fetch", "Verdict", "is_better")), "why: true"),
        ({"a": [{"b": get("Parameters.Epochs")}], "c": None}, {"a": [{"b": 3}], "c": None}),
    ],
)
def test_an_expression_is_replaced_by_its_value_at_any_depth(tree: Any, value: Any) -> None:
    check(tree, SCOPE, "here")
    assert resolve(tree, SCOPE) == value


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (get("Parameters.Epoch"), r"expected the key 'Epoch', got Epochs, Rate, Spot, Place"),
        (get("Parameters.Epochs.x"), r"expected the key 'x', got int"),
        (get("Pipeline.Name"), r"expected the key 'Pipeline', got Parameters, Execution, Steps"),
        (get("Steps.Fetch.ProcessingOutputConfig.Outputs['nobody'].S3Output"), r"the key 'nobody', got other, fet"),
        (get("Parameters Epochs"), r"expected a path such as"),
        ({"Get": 3}, r"expected the expressions Get, Std:Join and Std:JsonGet of a property file, got Get as"),
        ({"Std:Join": {"Values": []}}, r"got Std:Join as"),
        ({"Std:Join": {"On": "", "Values": [], "Else": 1}}, r"got Std:Join as"),
        ({"Std:JsonGet": {"S3Uri": "s3://a/b", "Path": "x"}}, r"got Std:JsonGet as"),
        (json_get("Fetch", "Card", "x"), r"expected the key 'Card', got Verdict"),
        (json_get("Fetch", "Verdict", ""), r"expected a path such as"),
        ({"Std:JsonGet": {"PropertyFile": get("Parameters.Place"), "Path": "x"}}, r"got Std:JsonGet as"),
        ({"Get": "Parameters.Epochs", "More": 1}, r"expected an expression as the only key, got Get, More"),
        (_join("", {"Std:Upper": "x"}), r"got Std:Upper"),
    ],
)
def test_the_error_for_an_unresolvable_expression_names_its_place(tree: Any, reason: str) -> None:
    with pytest.raises(PipelineError, match=rf"^here: .*{reason}"):
        check([{"deep": tree}], SCOPE, "here")


def test_the_error_for_a_missing_property_names_it() -> None:
    with pytest.raises(PipelineError, match=r"p_value of .*Verdict: expected the key 'p_value', got accuracy, nam"):
        resolve(json_get("Fetch", "Verdict", "p_value"), SCOPE)


def test_a_step_waits_for_the_steps_that_its_expressions_name() -> None:
    tree = {"a": _join("", json_get("Judge", "Verdict", "x")), "b": [get("Steps.Train.X"), get("Parameters.Steps")]}
    assert steps_named_in(tree) == {"Judge", "Train"}


@pytest.mark.parametrize(
    ("kind", "expected"), [("Equals", (False, True, False)), ("GreaterThanOrEqualTo", (False, True, True))]
)
def test_comparisons_with_values_below_at_and_above_the_limit(kind: str, expected: tuple[bool, ...]) -> None:
    found = [holds({"Type": kind, "LeftValue": left, "RightValue": 1.0}) for left in (0, 1, 2)]
    assert tuple(found) == expected


@pytest.mark.parametrize("left", ["1", True, None])
def test_values_of_different_types_are_not_compared(left: object) -> None:
    with pytest.raises(PipelineError, match=r"expected two values of one kind to compare, got .* and 1"):
        holds({"Type": "Equals", "LeftValue": left, "RightValue": 1})


@pytest.mark.parametrize(
    "condition",
    [
        {"Type": "Not", "Condition": {"Type": "Equals", "LeftValue": 1, "RightValue": 1}},
        {"Type": "LessThan", "LeftValue": 1, "RightValue": 1},
        {"Type": "Equals", "LeftValue": 1},
        {},
    ],
)
def test_an_unknown_condition_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match=r"^Decide: expected a condition of type Equals or "):
        check_condition(condition, "Decide")


def _execution_id(defined: bytes, *assignments: str) -> str:
    return read_plan(defined, assignments).execution_id


def test_the_execution_id_depends_on_the_definition_and_the_parameters() -> None:
    first, other = definition(fail("Refuse", "a"), Epochs=3), definition(fail("Refuse", "b"), Epochs=3)
    assert _execution_id(first) == _execution_id(first.replace(b"\n", b"")) == _execution_id(first, "Epochs=3")
    assert len({_execution_id(first), _execution_id(first, "Epochs=4"), _execution_id(other)}) == 3


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Epoch=3", r"expected NAME=VALUE with a parameter .*, got 'Epoch'; the parameters are Epochs, Rate"),
        ("Epochs", r"expected NAME=VALUE with a parameter"),
        *((f"Epochs={text}", r"Epochs: expected a value of type Integer") for text in ("3.5", "1_0", " 3", "")),
        *((f"Rate={text}", r"Rate: expected a value of type Float") for text in ("fast", "nan", "inf", "1_0.5")),
    ],
)
def test_a_parameter_that_is_unknown_or_has_the_wrong_type_is_refused(given: str, reason: str) -> None:
    with pytest.raises(PipelineError, match=reason):
        read_plan(definition(fail("Refuse", "a"), Epochs=3, Rate=0.1), [given])


def test_steps_that_depend_on_each_other_are_refused() -> None:
    first, second = fail("First", "a"), fail("Second", "b")
    first["DependsOn"], second["DependsOn"] = ["Second"], ["First"]
    with pytest.raises(PipelineError, match=r"expected no step to wait for itself, got First, Second"):
        read_plan(definition(first, second), [])


@pytest.mark.parametrize("defined", [b"{", b"[]", b"{}"])
def test_an_invalid_definition_is_refused(defined: bytes) -> None:
    with pytest.raises(
        PipelineError,
        match=r"cannot read the pipeline's definition: .*; give one that `driftserve-pipeline render` writes",
    ):
        read_plan(defined, [])


def test_a_parameter_of_a_type_that_the_pipeline_does_not_use_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"expected parameters of the types String, Integer, Float, got Boolean"):
        read_plan(definition(fail("Refuse", "a"), Spot=True), [])
