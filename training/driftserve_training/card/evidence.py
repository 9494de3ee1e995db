"""Reading the evidence that a model card shows: the files in a run's folder besides the network."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from driftserve.archive.certificate import Certificate
from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.explanation.document import FOLDER
from driftserve_training.fitting.history import HISTORY_FILE
from driftserve_training.fitting.training import CONFIGURATION_FILE

CERTIFICATE_FILE = "certificate.json"

Choice = str | int | float | bool | None
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Epoch:
    """The result of one pass over the training images: losses in nats, scores in [0, 1]."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float


_CERTIFICATE = TypeAdapter(Certificate)
_CONFIGURATION = TypeAdapter(dict[str, Choice])
_HISTORY = TypeAdapter(tuple[Epoch, ...])


def read_picture(trained: Path, name: str) -> bytes:
    """Read the PNG of one explanation.

    Raises:
        DataError: the file cannot be read.
    """
    path = trained / FOLDER / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the picture of an explanation: {error.strerror}; run `explain` again"
        ) from error


def read_certificate(trained: Path) -> Certificate | None:
    """Read the drift certificate in a run's folder; return None before the first export.

    Raises:
        DataError: the file does not match the schema.
    """
    return _read(trained / CERTIFICATE_FILE, _CERTIFICATE)


def read_choices(trained: Path) -> dict[str, Choice] | None:
    """Read the parameters of a run by name; return None if the run has no such file.

    If the augmentation is a file, only its name is kept.

    Raises:
        DataError: the file is not a flat JSON object.
    """
    choices = _read(trained / CONFIGURATION_FILE, _CONFIGURATION)
    if choices is None:
        return None
    file = {"augmentation": Path(str(choices["augmentation"])).name} if choices.get("augmentation") else {}
    return choices | file  # a card must not show paths of the training machine


def read_history(trained: Path) -> tuple[Epoch, ...]:
    """Read the epochs of a run, in order; the result is empty if the run has no such file.

    Raises:
        DataError: a column is missing, or a value is not a number.
    """
    path = trained / HISTORY_FILE
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return _HISTORY.validate_python(rows)
    except ValidationError as error:
        raise DataError(f"{path}: expected numbers for each epoch: {_describe(error)}; train again") from error


def _read(path: Path, adapter: TypeAdapter[_Kind]) -> _Kind | None:
    """Return the content of a JSON file, or None if there is no such file."""
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {_describe(error)}; run the command that wrote it again") from error


def _describe(error: ValidationError) -> str:
    problem = first_problem(error)
    return f"{problem.place}: {problem.reason}"
