"""The step Train, which trains one network on one or more machines, and resumes after an interruption."""

import hashlib
from dataclasses import dataclass

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.preparation import PREPARED
from driftserve_pipeline.sdk.expressions import Expression, Step, Text, output_of
from driftserve_pipeline.sdk.training import Training, training_step
from driftserve_pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Choice:
    """The model, optimizer and learning rate, which either parameters or a search choose."""

    model: Text
    optimizer: Text
    learning_rate: Text


def chosen_by_parameters(blueprint: Blueprint) -> Choice:
    """Return the choice that the execution's parameters make."""
    parameters = blueprint.parameters
    return Choice(parameters.model, parameters.optimizer, parameters.learning_rate.to_string())


def train(blueprint: Blueprint, prepared: Step, choice: Choice) -> Step:
    """Return the step that trains the chosen network. The step Evaluate then makes the evidence and the archive."""
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
            # Training refuses checkpoints made with other choices, images, weights or numbers of processes, so each
            # combination has its own location. The name of the Preprocess job identifies the images.
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
    """Return the hyperparameters that no search chooses."""
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
    """Return the channels: the images, and the initial weights if the settings name any."""
    weights = blueprint.settings.weights
    return {"data": output_of(prepared, PREPARED)} | ({"weights": weights} if weights else {})


def model_of(trained: Step) -> Expression:
    """Return the location of the trained network, a `model.tar.gz`."""
    location: Expression = trained.properties.ModelArtifacts.S3ModelArtifacts
    return location


def _fingerprint(settings: PipelineSettings) -> str:
    """Return a digest of the settings that affect training and are not parameters."""
    return hashlib.sha256(f"{settings.training_image} {settings.weights}".encode()).hexdigest()[:12]
