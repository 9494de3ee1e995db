"""Tune: the search for model, optimizer and learning rate, on machines of SageMaker's."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.training import Choice, channels, fixed_hyperparameters
from driftserve_pipeline.sdk.expressions import Step
from driftserve_pipeline.sdk.training import Search, Training, best_of, tuning_step

# Those of `python -m driftserve_training tune`, whose sampler tpe draws rates in the same way.
OPTIMIZERS = ("adamw", "sgd")
LEARNING_RATES = (0.001, 0.01)


def tune(blueprint: Blueprint, prepared: Step) -> Step:
    """The step that trains with many choices; its trainings keep no checkpoints, for each is short."""
    given, settings = blueprint.parameters, blueprint.settings
    return tuning_step(
        "Tune",
        "Search for the best model, optimizer and learning rate",
        blueprint.session,
        settings,
        Training(
            hyperparameters=fixed_hyperparameters(blueprint),
            channels=channels(blueprint, prepared),
            output=blueprint.output("tune"),
            instance_type=given.instance_type,
            instance_count=given.instance_count,
            environment=blueprint.environment,
        ),
        Search(
            choices={"model": settings.tuning_models, "optimizer": OPTIMIZERS},
            ranges={"learning_rate": LEARNING_RATES},
        ),
    )


def chosen_by_search(tuned: Step) -> Choice:
    """The choice of the training with the best validation accuracy."""
    return Choice(best_of(tuned, "model"), best_of(tuned, "optimizer"), best_of(tuned, "learning_rate"))
