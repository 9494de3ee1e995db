"""Check SageMaker requests against botocore's service model, without sending them.

botocore's own validator checks types, names, required members and lower bounds, but no upper bounds and no patterns.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "RegisterModel": "CreateModelPackage",
}
# SageMaker itself sets the names of a pipeline's jobs.
NAMED_BY_SAGEMAKER = ("ProcessingJobName", "TrainingJobName", "HyperParameterTuningJobName")


def problems(step_type: str, request: Mapping[str, Any]) -> list[str]:
    """Return what SageMaker would refuse in a step's request with resolved expressions; empty if it is valid."""
    shape = _sagemaker().operation_model(OPERATIONS[step_type]).input_shape
    complete = {name: "job" for name in NAMED_BY_SAGEMAKER if name in shape.members} | dict(request)
    report = ParamValidator().validate(complete, shape)
    found = [report.generate_report()] if report.has_errors() else []
    return found or list(_out_of_bounds(complete, shape, step_type))


@cache
def _sagemaker() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")


def _out_of_bounds(value: Any, shape: Shape, place: str) -> Iterator[str]:
    yield from _size(value, shape, place)
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from _out_of_bounds(part, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for number, part in enumerate(value):
            yield from _out_of_bounds(part, shape.member, f"{place}[{number}]")
    elif shape.type_name == "map":
        for name, part in value.items():
            yield from _out_of_bounds(name, shape.key, f"{place}.{name}")
            yield from _out_of_bounds(part, shape.value, f"{place}.{name}")
    elif shape.type_name == "string":
        yield from _spelling(value, shape, place)


def _size(value: Any, shape: Shape, place: str) -> Iterator[str]:
    size = value if isinstance(value, int | float) else len(value)
    if not shape.metadata.get("min", size) <= size <= shape.metadata.get("max", size):
        yield f"{place}: expected {shape.metadata.get('min')} to {shape.metadata.get('max')}, got {size}"


def _spelling(value: str, shape: Shape, place: str) -> Iterator[str]:
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(_as_python(pattern), value):
        yield f"{place}: expected {pattern}, got {value!r}"
    if shape.enum and value not in shape.enum:
        yield f"{place}: expected one of {shape.enum}, got {value!r}"


def _as_python(pattern: str) -> str:
    r"""Convert a Java pattern to Python: replace the Unicode classes, drop the length that follows `$`.

    >>> _as_python(r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}")
    '([\\w\\s_.:\\/=+\\-@]*)'
    """
    return re.sub(r"\$\{\d+,\d+\}$", "", pattern).replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
