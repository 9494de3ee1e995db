"""`fetch`: bring a data set here."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command

_DEFAULT = "kaggle:puneet6060/intel-image-classification"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        default=_DEFAULT,
        help="kaggle:OWNER/NAME, s3://BUCKET/PREFIX, a folder or a .zip file; in it train/ and test/ (or seg_train/ "
        "and seg_test/), each <class>/<image> (default: %(default)s)",
    )
    parser.add_argument(
        "--test-source",
        metavar="SOURCE",
        help="where the test images lie, if not in --source: test/ or seg_test/ in it, or <class>/<image> itself; "
        "--source may then be the training images' <class>/<image>",
    )
    parser.add_argument("--output", type=Path, required=True, help="new or empty folder for seg_train/, seg_test/, ...")


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.sources.source import fetch

    return {"output": str(options.output), **asdict(fetch(options.source, options.output, options.test_source))}


FETCH = Command("bring images from Kaggle, S3, a folder or a zip file into one layout", _add_arguments, _run)
