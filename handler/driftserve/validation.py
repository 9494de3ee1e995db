"""What is wrong with a document that pydantic refused, in words that fit one line."""

from dataclasses import dataclass

from pydantic import ValidationError

_MOST_INPUT_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """The first field that breaks a schema.

    `place` is its path, joined by dots, empty where the document as a whole is wrong; `reason` is pydantic's message;
    `got` shows the first 80 characters of what came, quoted, and is empty where nothing came.
    """

    place: str
    reason: str
    got: str

    def __str__(self) -> str:
        """`place: reason, got 'input'`, without the parts that are empty."""
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.reason}{f', got {self.got}' if self.got else ''}"


def first_problem(error: ValidationError) -> Problem:
    """The first problem that pydantic found; the others often follow from it.

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
