"""Read a JSON file that the training platform wrote."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem

T = TypeVar("T")


def read_platform_file(path: Path, kind: type[T], absent: T) -> T:
    """Return the content of the file, or `absent` if there is no file, as in a container started by hand.

    Raises:
        DataError: the file cannot be read, is not JSON, or has another type. The message is one line.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return absent
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error
