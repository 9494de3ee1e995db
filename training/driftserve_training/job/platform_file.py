"""A JSON file that the training platform has written, read as a type."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem

T = TypeVar("T")


def read_platform_file(path: Path, kind: type[T], absent: T) -> T:
    """What the file holds, or `absent` where there is none, as in a container that no platform has started.

    Raises:
        DataError: it is no JSON, or not of that type; one line.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return absent
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read, got {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error
