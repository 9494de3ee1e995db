"""Step Fetch: copy the images from their source. The test images may come from a second source."""

import argparse

from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step, value_or_none


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, help="location of the images, as for `driftserve_training fetch`")
    parser.add_argument("--test-source", default="none", help="location of the test images; none: --source")
    parser.add_argument(
        "--digest",
        default="none",
        help="digest of the sources' listing at the start of the execution; a new digest prevents cached results",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    arguments = ["--source", options.source, "--output", str(folders.fresh_output("fetched"))]
    if test_source := value_or_none(options.test_source):
        arguments += ["--test-source", test_source]
    fetched = run_command("driftserve_training", "fetch", *arguments)
    return f"sources' listing: {value_or_none(options.digest) or 'not known'}\n{fetched}"


FETCH = Step("download the images", _add_arguments, _run)
