"""Create the step that registers a version of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from driftserve_pipeline.registry.registration import registration_request
from driftserve_pipeline.sdk.expressions import Step, Text
from driftserve_pipeline.sdk.session import Session
from driftserve_pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Version:
    """A version to register: the locations of its model and its evaluation, and its metadata."""

    model: Text
    evaluation: Text
    metadata: Mapping[str, Text]


def registration_step(
    name: str, description: str, session: Session, settings: PipelineSettings, version: Version
) -> Step:
    """Return the step that registers a version in the settings' group, where somebody has to approve it.

    Our package `registry` builds the request, because the SDK's ModelBuilder would inspect the model and the Docker
    image for it. The SDK's ModelStep accepts any request of this kind (model_step.py:109).
    """
    from sagemaker.core.workflow.pipeline_context import _ModelStepArguments
    from sagemaker.mlops.workflow.model_step import ModelStep

    arguments = _ModelStepArguments(SimpleNamespace(sagemaker_session=session))
    arguments.caller_name = "create_model_package_from_containers"
    arguments.create_model_package_request = registration_request(
        group=settings.model_package_group,
        image=settings.serving_image,
        model_data_url=version.model,
        evaluation_url=version.evaluation,
        metadata=version.metadata,
    )
    step: Step = ModelStep(name=name, description=description, step_args=arguments)
    return step
