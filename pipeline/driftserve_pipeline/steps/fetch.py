"""Fetch: the images brought from where they are published, train and test from one place or two."""

import argparse

from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step, value_or_none


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, help="as `driftserve_training fetch` takes it")
    parser.add_argument("--test-source", default="none", help="where the test images lie; none: in --source")
    parser.add_argument(
        "--digest",
        default="none",
        help="of the sources' listing when the execution was started: no step is taken from the cache for another",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    arguments = ["--source", options.source, "--output", str(folders.fresh_output("fetched"))]
    if test_source := value_or_none(options.test_source):
        arguments += ["--test-source", test_source]
    fetched = run_command("driftserve_training", "fetch", *arguments)
    return f"sources' listing: {value_or_none(options.digest) or 'not known'}\n{fetched}"


FETCH = Step("bring the images here", _add_arguments, _run)
