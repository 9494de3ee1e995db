"""Create processing steps: a command in the training Docker image, with input and output folders."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftserve_pipeline.sdk.expressions import Step, Text
from driftserve_pipeline.sdk.policies import caching, retry_policies
from driftserve_pipeline.sdk.session import Session
from driftserve_pipeline.settings import PipelineSettings

ENTRYPOINT = ("/opt/venv/bin/python", "-m", "driftserve_pipeline.steps")
_FOLDER = "/opt/ml/processing"


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file in an output of a step, from which later steps read values."""

    output: str
    path: str


@dataclass(frozen=True)
class Processing:
    """A step to create: its arguments, and the locations of its inputs and outputs by name."""

    name: str
    description: str
    arguments: tuple[Text, ...]
    outputs: Mapping[str, Text]
    inputs: Mapping[str, Text] = field(default_factory=dict)
    property_files: Mapping[str, PropertyFile] = field(default_factory=dict)
    environment: Mapping[str, Text] = field(default_factory=dict)
    is_cached: bool = True


def processing_step(session: Session, settings: PipelineSettings, processing: Processing) -> Step:
    """Return the step. It runs in the training Docker image, on the settings' instance type."""
    from sagemaker.core.network import NetworkConfig
    from sagemaker.core.processing import Processor
    from sagemaker.core.workflow.properties import PropertyFile as SdkPropertyFile
    from sagemaker.mlops.workflow.steps import ProcessingStep

    network = (
        NetworkConfig(subnets=list(settings.subnets), security_group_ids=list(settings.security_groups))
        if settings.subnets
        else None
    )
    processor = Processor(
        role=settings.role_arn,
        image_uri=settings.training_image,
        instance_count=1,
        instance_type=settings.processing_instance_type,
        entrypoint=list(ENTRYPOINT),
        volume_size_in_gb=settings.processing_volume_gb,
        volume_kms_key=settings.kms_key,
        output_kms_key=settings.kms_key,
        max_runtime_in_seconds=settings.processing_minutes * 60,
        sagemaker_session=session,
        env=dict(processing.environment) or None,
        tags=[{"Key": name, "Value": value} for name, value in settings.tags.items()],
        network_config=network,
    )
    step: Step = ProcessingStep(
        name=processing.name,
        description=processing.description,
        step_args=processor.run(
            inputs=[_input(name, place) for name, place in processing.inputs.items()],
            outputs=[_output(name, place) for name, place in processing.outputs.items()],
            arguments=list(processing.arguments),
        ),
        property_files=[
            SdkPropertyFile(name=name, output_name=file.output, path=file.path)
            for name, file in processing.property_files.items()
        ],
        cache_config=caching(settings) if processing.is_cached else None,
        retry_policies=retry_policies(),
    )
    return step


def _input(name: str, place: Text) -> object:
    from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input

    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=place,
            local_path=f"{_FOLDER}/input/{name}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        ),
    )


def _output(name: str, place: Text) -> object:
    from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output

    return ProcessingOutput(
        output_name=name,
        s3_output=ProcessingS3Output(s3_uri=place, local_path=f"{_FOLDER}/output/{name}", s3_upload_mode="EndOfJob"),
    )
