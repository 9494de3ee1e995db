"""Create training and tuning steps, which run `train` of the training Docker image in one or many jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driftserve_pipeline.sdk.expressions import Expression, Step, Text
from driftserve_pipeline.sdk.policies import caching, retry_policies
from driftserve_pipeline.sdk.session import Session
from driftserve_pipeline.settings import PipelineSettings

METRIC = "val_accuracy"
_METRIC_PATTERN = r"epoch=\d+ val_accuracy=([0-9.]+)"  # finds the value in the line that the job logs after each epoch


@dataclass(frozen=True)
class Training:
    """A job to create: its hyperparameters, and the locations of its channels, model and checkpoints."""

    hyperparameters: Mapping[str, Text]
    channels: Mapping[str, Text]
    output: Text
    instance_type: Text
    instance_count: int | Expression
    checkpoints: Text | None = None
    environment: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """What a tuning step tries: choices by name, and ranges from which it samples on a log scale."""

    choices: Mapping[str, tuple[str, ...]]
    ranges: Mapping[str, tuple[float, float]]


def training_step(
    name: str, description: str, session: Session, settings: PipelineSettings, training: Training
) -> Step:
    """Return the step that trains once."""
    from sagemaker.core.shapes import MetricDefinition
    from sagemaker.mlops.workflow.steps import TrainingStep

    trainer = _trainer(session, settings, training)
    trainer.with_metric_definitions([MetricDefinition(name=METRIC, regex=_METRIC_PATTERN)])
    step: Step = TrainingStep(
        name=name,
        description=description,
        step_args=trainer.train(input_data_config=_channels(training)),
        cache_config=caching(settings),
        retry_policies=retry_policies(),
    )
    return step


def tuning_step(
    name: str, description: str, session: Session, settings: PipelineSettings, training: Training, search: Search
) -> Step:
    """Return the step that trains many times, several at once, and reports the best training."""
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
    from sagemaker.mlops.workflow.steps import TuningStep
    from sagemaker.train.tuner import HyperparameterTuner

    ranges = {name: CategoricalParameter(list(values)) for name, values in search.choices.items()} | {
        name: ContinuousParameter(least, greatest, scaling_type="Logarithmic")
        for name, (least, greatest) in search.ranges.items()
    }
    tuner = HyperparameterTuner(
        model_trainer=_trainer(session, settings, training),
        objective_metric_name=METRIC,
        metric_definitions=[{"Name": METRIC, "Regex": _METRIC_PATTERN}],
        hyperparameter_ranges=ranges,
        objective_type="Maximize",
        strategy="Bayesian",
        max_jobs=settings.tuning_jobs,
        max_parallel_jobs=settings.tuning_parallel_jobs,
        early_stopping_type="Auto",
        tags=[{"Key": name, "Value": value} for name, value in settings.tags.items()],
    )
    step: Step = TuningStep(
        name=name,
        description=description,
        step_args=tuner.tune(inputs=_channels(training)),
        cache_config=caching(settings),
        retry_policies=retry_policies(),
    )
    return step


def best_of(step: Step, name: str) -> Expression:
    """Return a hyperparameter of a tuning step's best training."""
    value: Expression = step.properties.BestTrainingJob.TunedHyperParameters[name]
    return value


def _trainer(session: Session, settings: PipelineSettings, training: Training) -> Any:
    from sagemaker.core.shapes import CheckpointConfig, OutputDataConfig, StoppingCondition, Tag
    from sagemaker.core.training.configs import Compute, Networking
    from sagemaker.train import ModelTrainer

    waiting = {"max_wait_time_in_seconds": settings.waiting_minutes * 60} if settings.spot else {}
    key = {"kms_key_id": settings.kms_key} if settings.kms_key else {}
    network = Networking(subnets=list(settings.subnets), security_group_ids=list(settings.security_groups))
    return ModelTrainer(
        sagemaker_session=session,
        role=settings.role_arn,
        base_job_name=settings.pipeline_name,
        training_image=settings.training_image,
        # No key for the disk: instances with local disks, such as ml.g5, refuse a key and encrypt the disks anyway.
        compute=Compute(
            instance_type=training.instance_type,
            instance_count=training.instance_count,
            volume_size_in_gb=settings.training_volume_gb,
            enable_managed_spot_training=settings.spot,
        ),
        networking=network if settings.subnets else None,
        stopping_condition=StoppingCondition(max_runtime_in_seconds=settings.training_minutes * 60, **waiting),
        output_data_config=OutputDataConfig(s3_output_path=training.output, **key),
        checkpoint_config=CheckpointConfig(s3_uri=training.checkpoints) if training.checkpoints is not None else None,
        hyperparameters=dict(training.hyperparameters),
        environment=dict(training.environment),
        tags=[Tag(key=name, value=value) for name, value in settings.tags.items()],
    )


def _channels(training: Training) -> list[Any]:
    from sagemaker.core.training.configs import InputData

    return [InputData(channel_name=name, data_source=place) for name, place in training.channels.items()]
