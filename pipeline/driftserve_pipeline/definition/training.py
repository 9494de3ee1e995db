"""Train: one network, on one machine or several, going on after an interruption."""

import hashlib
from dataclasses import dataclass

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.preparation import PREPARED
from driftserve_pipeline.sdk.expressions import Expression, Step, Text, output_of
from driftserve_pipeline.sdk.training import Training, training_step
from driftserve_pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Choice:
    """What parameters or a search choose."""

    model: Text
    optimizer: Text
    learning_rate: Text


def chosen_by_parameters(blueprint: Blueprint) -> Choice:
    """The choice of whoever starts the execution."""
    parameters = blueprint.parameters
    return Choice(parameters.model, parameters.optimizer, parameters.learning_rate.to_string())


def train(blueprint: Blueprint, prepared: Step, choice: Choice) -> Step:
    """The step that trains what was chosen; evidence and archive are left to Evaluate."""
    chosen = {"model": choice.model, "optimizer": choice.optimizer, "learning_rate": choice.learning_rate}
    hyperparameters = chosen | fixed_hyperparameters(blueprint)
    parameters = blueprint.parameters
    return training_step(
        "Train",
        "Train the network",
        blueprint.session,
        blueprint.settings,
        Training(
            hyperparameters=hyperparameters,
            channels=channels(blueprint, prepared),
            output=blueprint.output("train"),
            instance_type=parameters.instance_type,
            instance_count=parameters.instance_count,
            # Training refuses the checkpoints of other choices, images, weights or processes: each has a place of its
            # own. The job that prepared the images stands for them.
            checkpoints=blueprint.checkpoints(
                _fingerprint(blueprint.settings),
                prepared.properties.ProcessingJobName,
                *hyperparameters.values(),
                parameters.instance_type,
                parameters.instance_count.to_string(),
            ),
            environment=blueprint.environment,
        ),
    )


def fixed_hyperparameters(blueprint: Blueprint) -> dict[str, Text]:
    """What no search chooses."""
    parameters, settings = blueprint.parameters, blueprint.settings
    return {
        "batch_size": parameters.batch_size.to_string(),
        "augmentation": parameters.augmentation,
        "epochs": parameters.epochs.to_string(),
        "image_size": parameters.image_size.to_string(),
        "pretrained": str(settings.pretrained).lower(),
        "revision": parameters.code_revision,
        "name": settings.model_name,
        "product": "run",
    }


def channels(blueprint: Blueprint, prepared: Step) -> dict[str, Text]:
    """The images, and the weights to start from where there are some."""
    weights = blueprint.settings.weights
    return {"data": output_of(prepared, PREPARED)} | ({"weights": weights} if weights else {})


def model_of(trained: Step) -> Expression:
    """Where the trained network lies, one `model.tar.gz`."""
    location: Expression = trained.properties.ModelArtifacts.S3ModelArtifacts
    return location


def _fingerprint(settings: PipelineSettings) -> str:
    """Of what the settings, and not an execution, say of a training."""
    return hashlib.sha256(f"{settings.training_image} {settings.weights}".encode()).hexdigest()[:12]
