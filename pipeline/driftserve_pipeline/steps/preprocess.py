"""Step Preprocess: check the images, merge annotations, choose validation images, and write the manifest."""

import argparse

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step, value_or_none

_DROP = "--drop"  # the flag of the training package's command
_DROP_PARAMETER = "the parameter UnusableImages=drop"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", default="none", help="annotation release; none: folders are labels")
    parser.add_argument(
        "--unusable-images",
        choices=("refuse", "drop"),
        default="refuse",
        help="what to do if images are corrupt, too small, in two splits or under two labels: refuse the data set, or "
        "drop these images and list them in rejected.csv (default: %(default)s)",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    arguments = ["--data", str(folders.input("fetched")), "--output", str(folders.fresh_output("prepared"))]
    if annotations := value_or_none(options.annotations):
        arguments += ["--annotations", annotations]
    if options.unusable_images == "drop":
        arguments += [_DROP]
    try:
        return run_command("driftserve_training", "preprocess", *arguments)
    except PipelineError as error:  # the reader of the message sets parameters, not flags
        raise PipelineError(str(error).replace(_DROP, _DROP_PARAMETER)) from error


PREPROCESS = Step("check the images, and choose validation images", _add_arguments, _run)
