"""Preprocess: the images checked, annotations merged in, validation split off, the manifest written."""

import argparse

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step, value_or_none

_DROP = "--drop"  # of training's command
_DROP_PARAMETER = "the parameter UnusableImages=drop"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", default="none", help="a release of annotations; none: the folders' labels")
    parser.add_argument(
        "--unusable-images",
        choices=("refuse", "drop"),
        default="refuse",
        help="that are corrupt, too small, in two splits or under two labels: all are refused; or these are dropped, "
        "and listed in rejected.csv (default: %(default)s)",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    arguments = ["--data", str(folders.input("fetched")), "--output", str(folders.fresh_output("prepared"))]
    if annotations := value_or_none(options.annotations):
        arguments += ["--annotations", annotations]
    if options.unusable_images == "drop":
        arguments += [_DROP]
    try:
        return run_command("driftserve_training", "preprocess", *arguments)
    except PipelineError as error:  # whoever reads it starts executions, and runs no command
        raise PipelineError(str(error).replace(_DROP, _DROP_PARAMETER)) from error


PREPROCESS = Step("check the images, split off validation", _add_arguments, _run)
