"""The step Preprocess, which makes the splits, without duplicates, leaks or unreadable images."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.fetching import FETCHED
from driftserve_pipeline.sdk.expressions import Step, output_of
from driftserve_pipeline.sdk.processing import Processing, processing_step

PREPARED = "prepared"


def preprocess(blueprint: Blueprint, fetched: Step) -> Step:
    """Return the step that makes the data set from the fetched images and the labels of an annotation release."""
    parameters = blueprint.parameters
    return processing_step(
        blueprint.session,
        blueprint.settings,
        Processing(
            name="Preprocess",
            description="Check the images and split them",
            arguments=(
                "preprocess",
                *("--annotations", parameters.annotation_release),
                *("--unusable-images", parameters.unusable_images),
            ),
            inputs={FETCHED: output_of(fetched, FETCHED)},
            outputs={PREPARED: blueprint.output(PREPARED)},
            environment=blueprint.environment,
        ),
    )
