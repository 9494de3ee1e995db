"""What tests of whole programs share."""

from collections.abc import Iterator

import pytest

from warm_interpreter import WarmInterpreter, warm_interpreter


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmInterpreter]:
    """An interpreter that has imported torch, for programs that need it."""
    with warm_interpreter() as interpreter:
        yield interpreter
