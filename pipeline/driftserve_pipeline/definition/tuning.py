"""The step Tune, which searches for the best model, optimizer and learning rate."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.training import Choice, channels, fixed_hyperparameters
from driftserve_pipeline.sdk.expressions import Step, join, read_json
from driftserve_pipeline.sdk.processing import Processing, PropertyFile, processing_step
from driftserve_pipeline.sdk.training import Search, Training, best_of, tuning_step
from driftserve_pipeline.settings import PipelineSettings

# The search space of `python -m driftserve_training tune`. Both searches draw learning rates on a log scale.
OPTIMIZERS = ("adamw", "sgd")
LEARNING_RATES = (0.001, 0.01)
_NAME = "Tune"
_DESCRIPTION = "Search for the best model, optimizer and learning rate"
_BEST = "best"
_BEST_FILE = "Best"


def tune(blueprint: Blueprint, prepared: Step) -> tuple[Step, Choice]:
    """Return the step that trains with many choices, and the choice with the best validation accuracy.

    Each training is a SageMaker job. It keeps no checkpoints, because it is short.
    """
    parameters, settings = blueprint.parameters, blueprint.settings
    tuned = tuning_step(
        _NAME,
        _DESCRIPTION,
        blueprint.session,
        settings,
        Training(
            hyperparameters=fixed_hyperparameters(blueprint),
            channels=channels(blueprint, prepared),
            output=blueprint.output("tune"),
            instance_type=parameters.instance_type,
            instance_count=parameters.instance_count,
            environment=blueprint.environment,
        ),
        _search(settings),
    )
    return tuned, Choice(best_of(tuned, "model"), best_of(tuned, "optimizer"), best_of(tuned, "learning_rate"))


def tune_in_container(blueprint: Blueprint, prepared: Step) -> tuple[Step, Choice]:
    """Return the same for local mode, which has no tuning jobs: the training package searches in one container."""
    settings = blueprint.settings
    search, fixed = _search(settings), fixed_hyperparameters(blueprint)
    tuned = processing_step(
        blueprint.session,
        settings,
        Processing(
            name=_NAME,
            description=_DESCRIPTION,
            arguments=(
                "tune",
                *(
                    part
                    for name, values in search.choices.items()
                    for part in ("--choice", f"{name}={','.join(values)}")
                ),
                *(part for name, (a, b) in search.ranges.items() for part in ("--range", f"{name}={a},{b}")),
                *("--trials", str(settings.tuning_jobs)),
                *(part for name, value in fixed.items() for part in ("--fixed", join(f"{name}=", value))),
            ),
            inputs=channels(blueprint, prepared),
            outputs={_BEST: blueprint.output("tune")},
            property_files={_BEST_FILE: PropertyFile(_BEST, "best.json")},
            environment=blueprint.environment,
        ),
    )
    return tuned, Choice(*(read_json(tuned, _BEST_FILE, name) for name in ("model", "optimizer", "learning_rate")))


def _search(settings: PipelineSettings) -> Search:
    return Search(
        choices={"model": settings.tuning_models, "optimizer": OPTIMIZERS}, ranges={"learning_rate": LEARNING_RATES}
    )
