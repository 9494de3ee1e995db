"""Describes a pydantic validation error in one line."""

from dataclasses import dataclass

from pydantic import ValidationError

_MOST_INPUT_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """The first field whose value breaks a schema.

    `place` is its path, joined by dots; empty if the whole document is wrong. `reason` is pydantic's message. `got` is
    the first 80 characters of the value, quoted; empty if the field is missing.
    """

    place: str
    reason: str
    got: str

    def __str__(self) -> str:
        """Return `place: reason, got 'input'`, without empty parts."""
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.reason}{f', got {self.got}' if self.got else ''}"


def first_problem(error: ValidationError) -> Problem:
    """Return the first problem that pydantic found. Further problems often have the same cause.

    >>> from pydantic import BaseModel
    >>> class Window(BaseModel):
    ...     size: int
    >>> try:
    ...     Window(size="large")
    ... except ValidationError as error:
    ...     print(first_problem(error))
    size: Input should be a valid integer, unable to parse string as an integer, got 'large'
    """
    first = error.errors(include_url=False, include_context=False)[0]
    return Problem(
        place=".".join(str(part) for part in first["loc"]),
        reason=first["msg"],
        got="" if first["type"] == "missing" else repr(str(first["input"])[:_MOST_INPUT_CHARACTERS]),
    )
