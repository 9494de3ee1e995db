"""The pipeline: Fetch, Preprocess, Train, Evaluate and Decide; then Register, or Refuse with a reason."""

from collections.abc import Callable

from driftserve_pipeline.definition.blueprint import Blueprint, make_blueprint
from driftserve_pipeline.definition.decision import decide, refuse
from driftserve_pipeline.definition.evaluation import evaluate
from driftserve_pipeline.definition.fetching import fetch
from driftserve_pipeline.definition.preparation import preprocess
from driftserve_pipeline.definition.registration import register
from driftserve_pipeline.definition.training import Choice, chosen_by_parameters, train
from driftserve_pipeline.definition.tuning import tune
from driftserve_pipeline.sdk.branching import Pipeline, pipeline_of
from driftserve_pipeline.sdk.expressions import Step
from driftserve_pipeline.sdk.session import offline, open_session
from driftserve_pipeline.settings import PipelineSettings


def build(settings: PipelineSettings) -> Pipeline:
    """Return the pipeline of the settings as an object of the SDK, without a call to AWS.

    Raises:
        PipelineError: the SDK is not installed.
    """
    with offline(settings):
        return assemble(make_blueprint(settings, open_session(settings)), tune, register)


def assemble(
    blueprint: Blueprint,
    tuning: Callable[[Blueprint, Step], tuple[Step, Choice]],
    registering: Callable[[Blueprint, Step], Step],
) -> Pipeline:
    """Create the steps and connect them into a pipeline.

    Args:
        blueprint: the inputs that all steps share.
        tuning: returns the search step and its choice. It is called only if the settings ask for a search.
        registering: returns the step that registers the evaluated network.
    """
    settings = blueprint.settings
    fetched = fetch(blueprint)
    prepared = preprocess(blueprint, fetched)
    tuned, choice = tuning(blueprint, prepared) if settings.tuning else (None, chosen_by_parameters(blueprint))
    trained = train(blueprint, prepared, choice)
    evaluated = evaluate(blueprint, prepared, trained)
    decided = decide(blueprint, evaluated, registering(blueprint, evaluated), refuse(evaluated))
    return pipeline_of(
        settings.pipeline_name,
        blueprint.session,
        blueprint.parameters.declared(settings.tuning),
        [step for step in (fetched, prepared, tuned, trained, evaluated, decided) if step is not None],
    )
