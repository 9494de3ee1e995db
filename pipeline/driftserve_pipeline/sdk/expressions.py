"""What is known only when a pipeline runs: parameters, the execution, what steps leave behind."""

from typing import Any, Protocol


class Expression(Protocol):
    """A value that SageMaker fills in."""

    @property
    def expr(self) -> Any:
        """How the definition's JSON says it."""

    def to_string(self) -> "Expression":
        """The same as text."""


Text = str | Expression


class Step(Protocol):
    """A step of the SDK's."""

    @property
    def name(self) -> str:
        """Of the step, by which others name it."""

    @property
    def properties(self) -> Any:
        """What its job's description will hold, each an expression."""


def declare_parameter(name: str, default: str | float) -> Expression:
    """A parameter of the pipeline, of the kind of its default."""
    from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString

    kinds = {str: ParameterString, int: ParameterInteger, float: ParameterFloat}
    parameter: Expression = kinds[type(default)](name=name, default_value=default)
    return parameter


def execution_id() -> Expression:
    """Of the execution that is running."""
    from sagemaker.core.workflow.execution_variables import ExecutionVariables

    identity: Expression = ExecutionVariables.PIPELINE_EXECUTION_ID
    return identity


def join(*parts: Text, by: str = "") -> Expression:
    """The parts as one text."""
    from sagemaker.core.workflow.functions import Join

    joined: Expression = Join(on=by, values=list(parts))
    return joined


def read_json(step: Step, file: str, path: str) -> Expression:
    """A value in a property file of a processing step, at a JSON path."""
    from sagemaker.core.workflow.functions import JsonGet

    value: Expression = JsonGet(step_name=step.name, property_file=file, json_path=path)
    return value


def output_of(step: Step, name: str) -> Expression:
    """Where an output of a processing step lies; where its result was taken from the cache, the earlier one's."""
    location: Expression = step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
    return location
