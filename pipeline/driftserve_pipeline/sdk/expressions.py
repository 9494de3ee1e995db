"""Values that are known only when a pipeline runs: parameters, the execution's ID, outputs of steps."""

from typing import Any, Protocol


class Expression(Protocol):
    """A value that SageMaker fills in."""

    @property
    def expr(self) -> Any:
        """The value as it stands in the definition's JSON."""

    def to_string(self) -> "Expression":
        """Return the same value as text."""


Text = str | Expression


class Step(Protocol):
    """A step of the SDK."""

    @property
    def name(self) -> str:
        """Name of the step, by which other steps refer to it."""

    @property
    def properties(self) -> Any:
        """Fields of the description of the step's job, each as an expression."""


def declare_parameter(name: str, default: str | float) -> Expression:
    """Return a parameter of the pipeline with the type of its default."""
    from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString

    kinds = {str: ParameterString, int: ParameterInteger, float: ParameterFloat}
    parameter: Expression = kinds[type(default)](name=name, default_value=default)
    return parameter


def execution_id() -> Expression:
    """Return the ID of the running execution."""
    from sagemaker.core.workflow.execution_variables import ExecutionVariables

    identity: Expression = ExecutionVariables.PIPELINE_EXECUTION_ID
    return identity


def join(*parts: Text, by: str = "") -> Expression:
    """Return the parts, joined into one text."""
    from sagemaker.core.workflow.functions import Join

    joined: Expression = Join(on=by, values=list(parts))
    return joined


def read_json(step: Step, file: str, path: str) -> Expression:
    """Return the value at a JSON path in a property file of a processing step."""
    from sagemaker.core.workflow.functions import JsonGet

    value: Expression = JsonGet(step_name=step.name, property_file=file, json_path=path)
    return value


def output_of(step: Step, name: str) -> Expression:
    """Return the location of a processing step's output. If the result is cached, that is where it was written then."""
    location: Expression = step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
    return location
