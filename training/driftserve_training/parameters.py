"""Sources of training parameters: flags, environment, a YAML file, the winner of the search.

They are listed by priority: the first source that sets a parameter decides. Unknown keys are refused in every source.
"""

import argparse
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from driftserve.errors import DataError
from driftserve.text import fault_of_variable
from driftserve.validation import first_problem
from driftserve_training.configuration import Locations, TrainingConfiguration

PREFIX = "DRIFTSERVE_TRAINING_"
BEST_PARAMETERS_FILE = "best_params.yaml"
_WINNER = files("driftserve_training") / BEST_PARAMETERS_FILE
_CONFIG_FLAG = "config"
_CONFIG_HELP = (
    "YAML file of these parameters. Flags override environment variables, which override the file. The variable of "
    f"--learning-rate is {PREFIX}LEARNING_RATE"
)


def add_flags(parser: argparse.ArgumentParser, kind: type[BaseModel], leave_out: Collection[str] = ()) -> None:
    """Add `--config FILE` and a flag for each field of a model to a parser.

    Flags that are not given are absent from the parsed options.
    """
    group = parser.add_argument_group("training parameters")
    group.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG_HELP)
    for name, field in kind.model_fields.items():
        if name not in leave_out:
            _add_flag(group, name, field)


def add_locations(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `train` for the paths of the images to a parser."""
    group = parser.add_argument_group("paths of the images, as for `train`")
    for name, field in Locations.model_fields.items():
        _add_flag(group, name, field)


def read_locations(options: argparse.Namespace) -> Locations:
    """Return the paths of the images from the flags of `add_locations`."""
    return Locations.model_validate(
        {name: value for name, value in vars(options).items() if name in Locations.model_fields}
    )


def read_configuration(options: argparse.Namespace, environment: Mapping[str, str]) -> TrainingConfiguration:
    """Return the configuration of a command whose parser has the flags of `TrainingConfiguration`.

    Raises:
        DataError: a key is unknown, a value is out of bounds, or `output` is missing. The message is one line.
    """
    arguments = vars(options)
    flags = {name: value for name, value in arguments.items() if name in TrainingConfiguration.model_fields}
    file = arguments.get(_CONFIG_FLAG)
    return to_configuration(flags, from_environment(environment), read_yaml(file) if file else {})


def to_configuration(*layers: Mapping[str, object]) -> TrainingConfiguration:
    """Merge layers of parameters into a configuration.

    The first layer that sets a parameter decides. The winner of the search comes after all layers.

    Raises:
        DataError: a value is out of bounds or missing. The message is one line.
    """
    merged: dict[str, object] = {}
    for layer in reversed(layers):
        merged |= layer
    winner = read_winner()
    if merged.get("weights") is not None:  # the record of the weights names their model
        winner.pop("model", None)
    try:
        return TrainingConfiguration.model_validate(winner | merged)
    except ValidationError as error:
        raise DataError(str(first_problem(error))) from error


def read_winner() -> dict[str, object]:
    """Return the best parameters that the search found; docs/training.md describes the search."""
    return dict(yaml.safe_load(_WINNER.read_text()) or {})


def read_yaml(path: Path) -> dict[str, object]:
    """Read parameters from a YAML file.

    Raises:
        DataError: the file cannot be read, is not a mapping, or has an unknown key.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected parameters as `name: value`, got {type(content).__name__}")
    return {_to_field_name(str(key), str(path)): value for key, value in content.items()}


def from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the parameters from variables with our prefix, such as `DRIFTSERVE_TRAINING_EPOCHS`.

    Raises:
        DataError: a variable with our prefix names no parameter, or its value is empty or not UTF-8.
    """
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    for name, value in ours.items():
        if fault := fault_of_variable(value):
            raise DataError(f"{name}: {fault}")
    return {_to_field_name(name.removeprefix(PREFIX).lower(), name): value for name, value in ours.items()}


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        group.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=_help(name, field)
        )
    else:
        group.add_argument(
            flag, type=_checker(field), default=argparse.SUPPRESS, metavar=_metavar(field), help=_help(name, field)
        )


def _to_field_name(key: str, where: str) -> str:
    """Return the field name of a key that is written with `_` or `-`."""
    name = key.replace("-", "_")
    if name not in TrainingConfiguration.model_fields:
        known = ", ".join(TrainingConfiguration.model_fields)
        raise DataError(f"{where}: unknown parameter {key[:80]!r}, expected one of {known}; remove it")
    return name


def _checker(field: FieldInfo) -> Any:
    """Return an argparse type that converts the text of a flag, or raises an error that says what is wrong."""
    annotated: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(annotated)

    def check(text: str) -> object:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(f"{first_problem(error).reason}, got {text!r}") from error

    return check


def _help(name: str, field: FieldInfo) -> str:
    default = read_winner().get(name, field.default)
    default_text = "" if field.is_required() or default is None else f" (default: {default})"
    text = " ".join((field.description or "").split())
    return f"{text}{default_text}".replace("%", "%%")


def _metavar(field: FieldInfo) -> str:
    names = {int: "N", float: "X", str: "NAME", Path: "PATH"}
    for kind, name in names.items():
        if field.annotation is kind or field.annotation == (kind | None):
            return name
    return "NAME"
