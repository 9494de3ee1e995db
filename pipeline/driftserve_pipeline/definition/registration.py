"""Register: a version of the model, with its evidence and where it comes from, for somebody to approve."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.evaluation import EVALUATION, MODEL, verdict_of
from driftserve_pipeline.sdk.expressions import Step, execution_id, join, output_of
from driftserve_pipeline.sdk.registration import Version, registration_step

# What Evaluate writes down as `metadata` in verdict.json, and approvers read.
VERDICT_METADATA = (
    *("archive_sha256", "card_sha256", "manifest_sha256", "certificate", "champion"),
    *("accuracy", "mean_corruption_accuracy", "p_value"),
)


def register(blueprint: Blueprint, evaluated: Step) -> Step:
    """The step that puts the archive into the registry."""
    return registration_step(
        "Register",
        "Register the version, for somebody to approve",
        blueprint.session,
        blueprint.settings,
        Version(
            model=join(output_of(evaluated, MODEL), "model.tar.gz", by="/"),
            evaluation=join(output_of(evaluated, EVALUATION), "evaluation.json", by="/"),
            metadata={name: verdict_of(evaluated, f"metadata.{name}") for name in VERDICT_METADATA}
            | {"revision": blueprint.parameters.code_revision, "execution": execution_id()},
        ),
    )
