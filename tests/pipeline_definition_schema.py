"""A pydantic schema of the part of SageMaker's pipeline definition language (2020-12-01) that we use.

It follows AWS's own schema. That one is older than the service and lacks `Std:Join` in arguments, `CacheConfig` and
`PropertyFiles`; those follow the developer guide ('Retry policy', 'Caching', 'Pass data between steps').
`sagemaker_request_shapes.py` checks the Arguments of a step against botocore.

https://github.com/aws-sagemaker-mlops/sagemaker-model-building-pipeline-definition-JSON-schema
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9\-_]{1,64}$")]
Scalar = str | int | float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Get(_Strict):
    get: str = Field(alias="Get", pattern=r"^(Parameters\.[\w-]+|Execution\.[A-Za-z]+|Steps\.[\w-]+\..+)$")


class _Joined(_Strict):
    on: str = Field(alias="On")
    values: "list[Scalar | Expression]" = Field(alias="Values", min_length=1)


class Join(_Strict):
    join: _Joined = Field(alias="Std:Join")


class _Read(_Strict):
    file: Get = Field(alias="PropertyFile")
    path: str = Field(alias="Path", min_length=1)


class JsonGet(_Strict):
    read: _Read = Field(alias="Std:JsonGet")


Expression = Get | Join | JsonGet
_EXPRESSION: TypeAdapter[Expression] = TypeAdapter(Expression)
_Joined.model_rebuild()
Join.model_rebuild()
_FUNCTIONS = ("Get", "Std:")


class StringParameter(_Strict):
    name: Name = Field(alias="Name")
    type: Literal["String"] = Field(alias="Type")
    default: str = Field(alias="DefaultValue", min_length=1, max_length=1024)


class IntegerParameter(_Strict):
    name: Name = Field(alias="Name")
    type: Literal["Integer"] = Field(alias="Type")
    default: int = Field(alias="DefaultValue")


class FloatParameter(_Strict):
    name: Name = Field(alias="Name")
    type: Literal["Float"] = Field(alias="Type")
    default: float = Field(alias="DefaultValue")


class RetryPolicy(_Strict):
    exceptions: list[
        Literal[
            "Step.SERVICE_FAULT",
            "Step.THROTTLING",
            "SageMaker.JOB_INTERNAL_ERROR",
            "SageMaker.CAPACITY_ERROR",
            "SageMaker.RESOURCE_LIMIT",
        ]
    ] = Field(alias="ExceptionType", min_length=1)
    interval: int = Field(alias="IntervalSeconds", ge=1, le=43200)
    backoff: float = Field(alias="BackoffRate", ge=0)
    attempts: int | None = Field(default=None, alias="MaxAttempts", ge=1, le=20)
    minutes: int | None = Field(default=None, alias="ExpireAfterMin", ge=1, le=14400)

    @model_validator(mode="after")
    def _one_end(self) -> "RetryPolicy":
        assert (self.attempts is None) != (self.minutes is None), "expected one of MaxAttempts and ExpireAfterMin"
        return self


class CacheConfig(_Strict):
    enabled: bool = Field(alias="Enabled")
    expire_after: str = Field(alias="ExpireAfter", pattern=r"^P(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?)?$")


class PropertyFile(_Strict):
    name: Name = Field(alias="PropertyFileName")
    output: str = Field(alias="OutputName")
    path: str = Field(alias="FilePath")


class _Step(_Strict):
    name: Name = Field(alias="Name")
    description: str = Field(default="", alias="Description", max_length=3072)
    depends_on: list[Name] = Field(default=[], alias="DependsOn")


class JobStep(_Step):
    type: Literal["Processing", "Training", "Tuning"] = Field(alias="Type")
    arguments: dict[str, Any] = Field(alias="Arguments")
    cache: CacheConfig | None = Field(default=None, alias="CacheConfig")
    retries: list[RetryPolicy] = Field(default=[], alias="RetryPolicies")
    property_files: list[PropertyFile] = Field(default=[], alias="PropertyFiles")

    @model_validator(mode="after")
    def _files_are_in_outputs(self) -> "JobStep":
        assert {file.output for file in self.property_files} <= _outputs(self.arguments)
        return self


class RegisterStep(_Step):
    type: Literal["RegisterModel"] = Field(alias="Type")
    arguments: dict[str, Any] = Field(alias="Arguments")
    retries: list[RetryPolicy] = Field(default=[], alias="RetryPolicies")


class _Message(_Strict):
    message: str | Expression = Field(alias="ErrorMessage")


class FailStep(_Step):
    type: Literal["Fail"] = Field(alias="Type")
    arguments: _Message = Field(alias="Arguments")


class Condition(_Strict):
    type: Literal["Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"] = Field(
        alias="Type"
    )
    left: Scalar | Expression = Field(alias="LeftValue")
    right: Scalar | Expression = Field(alias="RightValue")


class _Branches(_Strict):
    conditions: list[Condition] = Field(alias="Conditions", min_length=1)
    accepted: list[JobStep | RegisterStep | FailStep] = Field(alias="IfSteps")
    refused: list[JobStep | RegisterStep | FailStep] = Field(alias="ElseSteps")


class ConditionStep(_Step):
    type: Literal["Condition"] = Field(alias="Type")
    arguments: _Branches = Field(alias="Arguments")


Step = JobStep | RegisterStep | FailStep | ConditionStep


class _Experiment(_Strict):
    experiment: str | Get = Field(alias="ExperimentName")
    trial: str | Get = Field(alias="TrialName")


class Definition(_Strict):
    """A definition in which every reference resolves."""

    version: Literal["2020-12-01"] = Field(alias="Version")
    metadata: dict[str, str] = Field(alias="Metadata")
    parameters: list[StringParameter | IntegerParameter | FloatParameter] = Field(alias="Parameters", max_length=200)
    experiment: _Experiment = Field(alias="PipelineExperimentConfig")
    steps: list[Step] = Field(alias="Steps", min_length=1, max_length=50)

    @model_validator(mode="after")
    def _references_resolve(self) -> "Definition":
        files: dict[str, set[str]] = {}  # of the steps so far: a step may refer only to earlier ones
        outputs: dict[str, set[str]] = {}
        declared = {parameter.name for parameter in self.parameters}
        for step in self.flat_steps():
            assert step.name not in files, f"{step.name}: expected a unique name"
            for reference in references(_own_arguments(step)):
                kind, name, *rest = reference.split(".")
                assert kind != "Parameters" or name in declared, f"{step.name}: {reference}"
                assert kind != "Steps" or name in files, f"{step.name}: {reference}"
                assert rest[:1] != ["PropertyFiles"] or rest[1] in files[name], f"{step.name}: {reference}"
                for output in re.findall(r"\.Outputs\['(.*?)'\]", reference):
                    assert output in outputs[name], f"{step.name}: {reference}"
            outputs[step.name] = _outputs(step.arguments) if isinstance(step, JobStep) else set()
            files[step.name] = {file.name for file in step.property_files} if isinstance(step, JobStep) else set()
        return self

    def flat_steps(self) -> Iterator[Step]:
        """Yield all steps; the branches of a condition follow it."""
        for step in self.steps:
            yield step
            if isinstance(step, ConditionStep):
                yield from (*step.arguments.accepted, *step.arguments.refused)


def _outputs(arguments: dict[str, Any]) -> set[str]:
    return {output["OutputName"] for output in arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])}


def _own_arguments(step: Step) -> Any:
    if isinstance(step, ConditionStep):  # its branches are checked as separate steps
        return [condition.model_dump(by_alias=True) for condition in step.arguments.conditions]
    return step.model_dump(by_alias=True)["Arguments"]


def references(value: Any) -> Iterator[str]:
    """Yield the references of a value's expressions; validate each expression."""
    if isinstance(value, list):
        for part in value:
            yield from references(part)
    elif isinstance(value, dict):
        if any(name.startswith(_FUNCTIONS) for name in value):
            _EXPRESSION.validate_python(value)
        if isinstance(value.get("Get"), str):
            yield value["Get"]
        else:
            for part in value.values():
                yield from references(part)
