"""Fixtures for tests of whole programs."""

from collections.abc import Iterator

import pytest

from warm_interpreter import WarmInterpreter, warm_interpreter


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmInterpreter]:
    """An interpreter with torch already imported, for programs that need it."""
    with warm_interpreter() as interpreter:
        yield interpreter
