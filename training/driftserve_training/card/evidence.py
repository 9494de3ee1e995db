"""What a run's folder holds beside the network: the evidence that a model card shows."""

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
    """What one pass over the training images came to: losses in nats, scores in [0, 1]."""

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
    """The PNG of one explanation.

    Raises:
        DataError: it cannot be read.
    """
    path = trained / FOLDER / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: expected the picture of an explanation, got {error.strerror}; run `explain` again"
        ) from error


def read_certificate(trained: Path) -> Certificate | None:
    """The drift certificate in a run's folder; None before the first export.

    Raises:
        DataError: it breaks the schema.
    """
    return _read(trained / CERTIFICATE_FILE, _CERTIFICATE)


def read_choices(trained: Path) -> dict[str, Choice] | None:
    """The parameters of a run by name, of files the name alone; None where they were not written.

    Raises:
        DataError: they are no flat JSON object.
    """
    choices = _read(trained / CONFIGURATION_FILE, _CONFIGURATION)
    if choices is None:
        return None
    file = {"augmentation": Path(str(choices["augmentation"])).name} if choices.get("augmentation") else {}
    return choices | file  # a card names no path of the machine that trained


def read_history(trained: Path) -> tuple[Epoch, ...]:
    """The epochs of a run, in order; none where they were not written.

    Raises:
        DataError: a column is missing, or holds what is no number.
    """
    path = trained / HISTORY_FILE
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return _HISTORY.validate_python(rows)
    except ValidationError as error:
        raise DataError(f"{path}: expected a row of numbers an epoch, got {_describe(error)}; train again") from error


def _read(path: Path, adapter: TypeAdapter[_Kind]) -> _Kind | None:
    """What a JSON file holds, or None where there is no such file."""
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read, got {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {_describe(error)}; run the command that wrote it again") from error


def _describe(error: ValidationError) -> str:
    problem = first_problem(error)
    return f"{problem.place}: {problem.reason}"
