"""The step Register, which registers the model with its evidence and provenance, for somebody to approve."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.evaluation import EVALUATION, MODEL, verdict_of
from driftserve_pipeline.sdk.expressions import Expression, Step, execution_id, join, output_of
from driftserve_pipeline.sdk.processing import Processing, processing_step
from driftserve_pipeline.sdk.registration import Version, registration_step

# Names of the facts that Evaluate writes as `metadata` into verdict.json, for the person who approves.
VERDICT_METADATA = (
    *("archive_sha256", "card_sha256", "manifest_sha256", "certificate", "champion", "compared"),
    *("accuracy", "mean_corruption_accuracy", "p_value"),
)


def register(blueprint: Blueprint, evaluated: Step) -> Step:
    """Return the step that registers the archive."""
    return registration_step(
        "Register",
        "Register the version, for somebody to approve",
        blueprint.session,
        blueprint.settings,
        Version(
            model=_archive(evaluated),
            evaluation=_evaluation(evaluated),
            metadata={name: verdict_of(evaluated, f"metadata.{name}") for name in VERDICT_METADATA}
            | {"revision": blueprint.parameters.code_revision, "execution": execution_id()},
        ),
    )


def register_from_container(blueprint: Blueprint, evaluated: Step) -> Step:
    """Return a processing step that registers the archive, because local mode refuses a RegisterModel step."""
    settings = blueprint.settings
    return processing_step(
        blueprint.session,
        settings,
        Processing(
            name="Register",
            description="Register the version, for somebody to approve",
            arguments=(
                "register",
                *("--group", settings.model_package_group),
                *("--image", settings.serving_image),
                *("--model-data-url", _archive(evaluated)),
                *("--evaluation-url", _evaluation(evaluated)),
                *("--revision", blueprint.parameters.code_revision),
                *("--execution", execution_id()),
            ),
            inputs={EVALUATION: output_of(evaluated, EVALUATION)},
            outputs={},
            environment=blueprint.environment,
            is_cached=False,
        ),
    )


def _archive(evaluated: Step) -> Expression:
    return join(output_of(evaluated, MODEL), "model.tar.gz", by="/")


def _evaluation(evaluated: Step) -> Expression:
    return join(output_of(evaluated, EVALUATION), "evaluation.json", by="/")
