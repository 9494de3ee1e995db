"""Command `fetch`: copy a data set from its source."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command

_DEFAULT = "kaggle:puneet6060/intel-image-classification"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        default=_DEFAULT,
        help="kaggle:OWNER/NAME, s3://BUCKET/PREFIX, a folder or a .zip file with train/ and test/ (or seg_train/ "
        "and seg_test/), each with <class>/<image> (default: %(default)s)",
    )
    parser.add_argument(
        "--test-source",
        metavar="SOURCE",
        help="source of the test images, if it is not --source: a SOURCE with test/ or seg_test/, or with "
        "<class>/<image> at its root; --source may then have the training images as <class>/<image> at its root",
    )
    parser.add_argument("--output", type=Path, required=True, help="new or empty folder for seg_train/, seg_test/, ...")


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.sources.source import fetch

    return {"output": str(options.output), **asdict(fetch(options.source, options.output, options.test_source))}


FETCH = Command("copy images from Kaggle, S3, a folder or a zip file into a standard layout", _add_arguments, _run)
