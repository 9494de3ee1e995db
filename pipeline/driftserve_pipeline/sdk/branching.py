"""Create condition steps, fail steps, and the pipeline itself."""

from collections.abc import Sequence
from typing import Any

from driftserve_pipeline.sdk.expressions import Expression, Step, Text, execution_id
from driftserve_pipeline.sdk.session import Session

# Types of the SDK, which may not be installed.
Condition = Any
Pipeline = Any


def at_least(value: Expression, least: float | Expression) -> Condition:
    """Return the condition `value >= least`."""
    from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo

    return ConditionGreaterThanOrEqualTo(left=value, right=least)


def equals(value: Expression, expected: float | str) -> Condition:
    """Return the condition `value == expected`."""
    from sagemaker.core.workflow.conditions import ConditionEquals

    return ConditionEquals(left=value, right=expected)


def condition_step(name: str, description: str, conditions: Sequence[Condition], accepted: Step, refused: Step) -> Step:
    """Return the step that runs `accepted` if every condition holds, else `refused`."""
    from sagemaker.mlops.workflow.condition_step import ConditionStep

    step: Step = ConditionStep(
        name=name, description=description, conditions=list(conditions), if_steps=[accepted], else_steps=[refused]
    )
    return step


def fail_step(name: str, description: str, message: Text) -> Step:
    """Return the step that fails the execution with a message."""
    from sagemaker.mlops.workflow.fail_step import FailStep

    step: Step = FailStep(name=name, description=description, error_message=message)
    return step


def pipeline_of(name: str, session: Session, parameters: Sequence[Expression], steps: Sequence[Step]) -> Pipeline:
    """Return the pipeline. Each execution is a trial of the experiment with the pipeline's name."""
    from sagemaker.mlops.workflow.pipeline import Pipeline as SdkPipeline
    from sagemaker.mlops.workflow.pipeline_experiment_config import PipelineExperimentConfig

    return SdkPipeline(
        name=name,
        parameters=list(parameters),
        steps=list(steps),
        sagemaker_session=session,
        pipeline_experiment_config=PipelineExperimentConfig(name, execution_id()),
    )
