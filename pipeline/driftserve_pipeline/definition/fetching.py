"""The step Fetch, which copies the images without changing them."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.sdk.expressions import Step
from driftserve_pipeline.sdk.processing import Processing, processing_step

FETCHED = "fetched"


def fetch(blueprint: Blueprint) -> Step:
    """Return the step that copies the images. Its argument `--digest` changes the cache key for new images."""
    parameters = blueprint.parameters
    return processing_step(
        blueprint.session,
        blueprint.settings,
        Processing(
            name="Fetch",
            description="Copy the images from where they are",
            arguments=(
                "fetch",
                "--source",
                parameters.train_location,
                "--test-source",
                parameters.test_location,
                "--digest",
                parameters.source_digest,
            ),
            outputs={FETCHED: blueprint.output(FETCHED)},
            environment=blueprint.environment,
        ),
    )
