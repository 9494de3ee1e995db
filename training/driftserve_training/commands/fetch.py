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
        metavar="LOCATION",
        help="location of the images: kaggle:OWNER/NAME, s3://BUCKET/PREFIX, a folder or a .zip file; it contains "
        "train/ and test/ (or seg_train/ and seg_test/), each with <class>/<image> (default: %(default)s)",
    )
    parser.add_argument(
        "--test-source",
        metavar="LOCATION",
        help="location from which the test images are taken instead of --source. With it, each of the two locations "
        "may have the class folders directly (<class>/<image>), without train/ or test/ around them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="new or empty folder; the images are written to seg_train/ and seg_test/, and to seg_val/, seg_pred/ "
        "(images without labels) and stream/ (images that imitate live traffic) if the source has them",
    )


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.sources.source import fetch

    return {"output": str(options.output), **asdict(fetch(options.source, options.output, options.test_source))}


FETCH = Command("copy images from Kaggle, S3, a folder or a zip file into a standard layout", _add_arguments, _run)
