"""The parameters that a pipeline's definition declares, and what one execution gives for them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from driftserve_pipeline.errors import PipelineError

MOST_CHARACTERS = 1024  # botocore's shape of a parameter's value
_NOTHING = "none"  # SageMaker takes no empty argument
_FORMS = {
    "String": re.compile(".+", re.DOTALL),
    "Integer": re.compile(r"-?\d+", re.ASCII),
    "Float": re.compile(r"-?\d+(\.\d+)?(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE),
    "Boolean": re.compile("true|false"),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter: String, Integer, Float or Boolean; without a default it has to be given."""

    name: str
    kind: str
    default: str | None
    choices: tuple[str, ...] = ()


def declared_parameters(definition: str) -> tuple[Parameter, ...]:
    """The parameters of a pipeline's definition, as JSON, in its order."""
    return tuple(
        Parameter(
            declared["Name"],
            declared["Type"],
            _written(declared["DefaultValue"]) if "DefaultValue" in declared else None,
            tuple(map(_written, declared.get("EnumValues", ()))),
        )
        for declared in json.loads(definition).get("Parameters", ())
    )


def resolve(declared: Iterable[Parameter], assignments: Iterable[str]) -> dict[str, str]:
    """The value of every parameter: that of `name=value` where there is one, else its default.

    Nothing after the sign is `none`, where `none` is the default.

    >>> resolve([Parameter("Epochs", "Integer", "7"), Parameter("From", "String", "none")], ["Epochs=20", "From="])
    {'Epochs': '20', 'From': 'none'}

    Raises:
        PipelineError: a name is unknown or given twice, a value is empty or has another type, or one without a default
            is missing.
    """
    known = {parameter.name: parameter for parameter in declared}
    assigned: dict[str, str] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or name not in known:
            raise PipelineError(
                f"--param {assignment[:80]}: expected NAME=VALUE with a parameter of the pipeline, got "
                f"{name[:80]!r}; known are {', '.join(known) or 'none'}"
            )
        if name in assigned:
            raise PipelineError(f"--param {name}: expected it once, got it twice; leave one out")
        assigned[name] = _checked(known[name], text)
    resolved = {name: assigned.get(name, parameter.default) for name, parameter in known.items()}
    if missing := [name for name, text in resolved.items() if text is None]:
        raise PipelineError(f"expected a value for {', '.join(missing)}, got none; give --param {missing[0]}=VALUE")
    return {name: text for name, text in resolved.items() if text is not None}


def locations_of(resolved: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """The values of some parameters that stand for a place; `none` stands for nowhere."""
    return tuple(resolved[name] for name in names if resolved.get(name, _NOTHING) != _NOTHING)


def _checked(parameter: Parameter, text: str) -> str:
    if not text and parameter.default == _NOTHING:
        return _NOTHING
    if len(text) > MOST_CHARACTERS:
        raise PipelineError(
            f"--param {parameter.name}: expected at most {MOST_CHARACTERS} characters, got {len(text)}; shorten it"
        )
    if not _FORMS[parameter.kind].fullmatch(text):
        raise PipelineError(
            f"--param {parameter.name}: expected a value of type {parameter.kind}"
            f"{f', as is {parameter.default}' if parameter.default else ''}, got {text[:80]!r}; correct the value"
        )
    if parameter.choices and text not in parameter.choices:
        raise PipelineError(
            f"--param {parameter.name}: expected one of {', '.join(parameter.choices)}, got {text[:80]!r}; choose one"
        )
    return text


def _written(value: object) -> str:
    """As `start` and the console write it: SageMaker takes every value as a string."""
    return value if isinstance(value, str) else json.dumps(value)
