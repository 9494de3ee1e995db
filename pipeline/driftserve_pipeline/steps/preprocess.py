"""Preprocess: the images checked, annotations merged in, validation split off, the manifest written."""

import argparse

from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step, given


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", default="none", help="a release of annotations; none: the folders' labels")


def _run(options: argparse.Namespace, folders: Folders) -> str:
    arguments = ["--data", str(folders.input("fetched")), "--output", str(folders.fresh_output("prepared"))]
    if annotations := given(options.annotations):
        arguments += ["--annotations", annotations]
    return run_command("driftserve_training", "preprocess", *arguments)


PREPROCESS = Step("check the images, split off validation", _add_arguments, _run)
