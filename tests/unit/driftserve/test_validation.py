import pytest
from pydantic import BaseModel, ValidationError

from driftserve.validation import first_problem


class Inner(BaseModel):
    sizes: list[int]


class Outer(BaseModel):
    inner: Inner


def _problem(document: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    return str(first_problem(caught.value))


def test_a_problem_has_place_reason_and_value() -> None:
    text = _problem({"inner": {"sizes": [1, "two", "three"]}})
    assert text == "inner.sizes.1: Input should be a valid integer, unable to parse string as an integer, got 'two'"


def test_a_problem_of_a_missing_field_has_no_value() -> None:
    assert _problem({"inner": {}}) == "inner.sizes: Field required"


def test_a_problem_of_the_whole_document_has_no_place_and_shows_a_part_of_it() -> None:
    text = _problem("x" * 1000)
    assert text.startswith("Input should be a valid dictionary or instance of Outer, got 'x")
    assert len(text) < 200
