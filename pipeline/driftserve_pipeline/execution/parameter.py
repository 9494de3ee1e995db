"""The parameters that a pipeline's definition declares, and their values in one execution."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from driftserve_pipeline.errors import PipelineError

MOST_CHARACTERS = 1024  # limit of a parameter's value, from botocore's shapes
_NOTHING = "none"  # stands for an empty value, which SageMaker does not accept as an argument
_FORMS = {
    "String": re.compile(".+", re.DOTALL),
    "Integer": re.compile(r"-?\d+", re.ASCII),
    "Float": re.compile(r"-?\d+(\.\d+)?(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE),
    "Boolean": re.compile("true|false"),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of type String, Integer, Float or Boolean. Without a default, it is required."""

    name: str
    kind: str
    default: str | None
    choices: tuple[str, ...] = ()


def declared_parameters(definition: str) -> tuple[Parameter, ...]:
    """Return the parameters of a pipeline's definition (JSON), in the order of the definition."""
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
    """Return the value of every parameter: from its `name=value` if there is one, else its default.

    An empty value means `none` if the default is `none`.

    >>> resolve([Parameter("Epochs", "Integer", "7"), Parameter("From", "String", "none")], ["Epochs=20", "From="])
    {'Epochs': '20', 'From': 'none'}

    Raises:
        PipelineError: a name is unknown or given twice, a value is empty or has the wrong type, or a required one is
            missing.
    """
    known = {parameter.name: parameter for parameter in declared}
    assigned: dict[str, str] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or name not in known:
            raise PipelineError(
                f"--param {assignment[:80]}: expected NAME=VALUE with a parameter of the pipeline, got "
                f"{name[:80]!r}; the parameters are {', '.join(known) or 'none'}"
            )
        if name in assigned:
            raise PipelineError(f"--param {name}: expected it once, got it twice; remove one")
        assigned[name] = _checked(known[name], text)
    resolved = {name: assigned.get(name, parameter.default) for name, parameter in known.items()}
    if missing := [name for name, text in resolved.items() if text is None]:
        raise PipelineError(f"expected a value for {', '.join(missing)}, got none; add --param {missing[0]}=VALUE")
    return {name: text for name, text in resolved.items() if text is not None}


def locations_of(resolved: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the values of the named parameters that are locations; leave out `none`."""
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
            f"{f' such as {parameter.default}' if parameter.default else ''}, got {text[:80]!r}; correct the value"
        )
    if parameter.choices and text not in parameter.choices:
        raise PipelineError(
            f"--param {parameter.name}: expected one of {', '.join(parameter.choices)}, got {text[:80]!r}; choose one"
        )
    return text


def _written(value: object) -> str:
    """Return the value as a string, as `start` and the console write it: SageMaker accepts only strings."""
    return value if isinstance(value, str) else json.dumps(value)
