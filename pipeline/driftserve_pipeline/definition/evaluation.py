"""The step Evaluate, which tests the network, compares it with the champion, and writes evidence and archive."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.preparation import PREPARED
from driftserve_pipeline.definition.training import model_of
from driftserve_pipeline.sdk.expressions import Expression, Step, execution_id, output_of, read_json
from driftserve_pipeline.sdk.processing import Processing, PropertyFile, processing_step

EVALUATION = "evaluation"
MODEL = "model"
_EVALUATION_FILE = "Evaluation"
_VERDICT_FILE = "Verdict"


def evaluate(blueprint: Blueprint, prepared: Step, trained: Step) -> Step:
    """Return the step that evaluates the network. It never uses the cache, because the champion may have changed."""
    parameters, settings = blueprint.parameters, blueprint.settings
    return processing_step(
        blueprint.session,
        settings,
        Processing(
            name="Evaluate",
            description="Measure the network, explain it, certify its drift detector, archive it",
            arguments=(
                "evaluate",
                *("--group", settings.model_package_group),
                *("--name", settings.model_name),
                *("--version", execution_id()),
                *("--threshold", parameters.accuracy_threshold.to_string()),
                *("--robustness-images", str(settings.robustness_images)),
                *("--explained-images", str(settings.explained_images)),
                *("--certificate", settings.certificate),
            ),
            inputs={"run": model_of(trained), "data": output_of(prepared, PREPARED)},
            outputs={EVALUATION: blueprint.output(EVALUATION), MODEL: blueprint.output(MODEL)},
            property_files={
                _EVALUATION_FILE: PropertyFile(EVALUATION, "evaluation.json"),
                _VERDICT_FILE: PropertyFile(EVALUATION, "verdict.json"),
            },
            environment=blueprint.environment,
            is_cached=False,
        ),
    )


def accuracy_of(evaluated: Step) -> Expression:
    """Return the accuracy on the test images."""
    return read_json(evaluated, _EVALUATION_FILE, "multiclass_classification_metrics.accuracy.value")


def verdict_of(evaluated: Step, path: str) -> Expression:
    """Return a value of the verdict: `beats_champion`, `reason`, `metadata.<name>`."""
    return read_json(evaluated, _VERDICT_FILE, path)
