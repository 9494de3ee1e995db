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


def test_the_first_problem_has_its_place_its_reason_and_what_came() -> None:
    text = _problem({"inner": {"sizes": [1, "two", "three"]}})
    assert text == "inner.sizes.1: Input should be a valid integer, unable to parse string as an integer, got 'two'"


def test_of_what_is_missing_nothing_came() -> None:
    assert _problem({"inner": {}}) == "inner.sizes: Field required"


def test_the_document_as_a_whole_has_no_place_and_is_shown_in_part() -> None:
    text = _problem("x" * 1000)
    assert text.startswith("Input should be a valid dictionary or instance of Outer, got 'x")
    assert len(text) < 200
