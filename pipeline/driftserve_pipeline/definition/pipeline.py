"""The pipeline: Fetch, Preprocess, Train, Evaluate, then Register what is better, or Refuse and say why."""

from driftserve_pipeline.definition.blueprint import draw
from driftserve_pipeline.definition.decision import decide, refuse
from driftserve_pipeline.definition.evaluation import evaluate
from driftserve_pipeline.definition.fetching import fetch
from driftserve_pipeline.definition.preparation import preprocess
from driftserve_pipeline.definition.registration import register
from driftserve_pipeline.definition.training import chosen_by_parameters, train
from driftserve_pipeline.definition.tuning import chosen_by_search, tune
from driftserve_pipeline.sdk.branching import Pipeline, pipeline_of
from driftserve_pipeline.sdk.expressions import Step
from driftserve_pipeline.sdk.session import open_session
from driftserve_pipeline.settings import PipelineSettings


def build(settings: PipelineSettings) -> Pipeline:
    """The pipeline of an account and a team, as the SDK has it; asks AWS nothing.

    Raises:
        PipelineError: the SDK is not installed.
    """
    blueprint = draw(settings, open_session(settings))
    fetched = fetch(blueprint)
    prepared = preprocess(blueprint, fetched)
    search: tuple[Step, ...] = ()
    choice = chosen_by_parameters(blueprint)
    if settings.tuning:
        search = (tune(blueprint, prepared),)
        choice = chosen_by_search(search[0])
    trained = train(blueprint, prepared, choice)
    evaluated = evaluate(blueprint, prepared, trained)
    decided = decide(blueprint, evaluated, register(blueprint, evaluated), refuse(evaluated))
    return pipeline_of(
        settings.pipeline_name,
        blueprint.session,
        blueprint.parameters.declared(settings.tuning),
        [fetched, prepared, *search, trained, evaluated, decided],
    )
