"""Fetch: the images as they are where they come from."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.sdk.expressions import Step
from driftserve_pipeline.sdk.processing import Processing, processing_step

FETCHED = "fetched"


def fetch(blueprint: Blueprint) -> Step:
    """The step that copies the sources; the digest is an argument, so that other images at one address are fetched."""
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
