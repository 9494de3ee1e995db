"""Command `preprocess`: check fetched images, choose validation images, write the manifest."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import share, whole_number


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the --output of `fetch`")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="new or empty folder for train/, val/, test/ and manifest.csv, and for stream/ if --data has it",
    )
    parser.add_argument(
        "--val-fraction",
        type=share,
        default=0.15,
        metavar="X",
        help="fraction of each class's training images to move to val/; not used if --data has val images "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="random seed for the choice of validation images (default: %(default)s)",
    )
    parser.add_argument(
        "--annotations",
        metavar="LOCATION",
        help="labels from Label Studio: a JSON export, or the folder or s3://BUCKET/PREFIX where Label Studio stores "
        "annotations. They replace the folder labels in train and val, and may add images to train",
    )
    parser.add_argument(
        "--smallest",
        type=whole_number(1),
        default=32,
        metavar="N",
        help="minimum length of an image's shorter side, in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="leave out unusable images and list them in rejected.csv. Without this flag they are an error. An image "
        "is unusable if it is corrupt or too small, or if it is also in another split or under another label",
    )
    parser.add_argument(
        "--near-duplicates",
        choices=("list", "refuse", "drop"),
        default="list",
        help="what to do if two splits have nearly the same image, such as a photo and a resized copy. list: only list "
        "it in near_duplicates.csv. refuse: stop with an error. drop: keep it only in one split, the first of test, "
        "val, stream, train that has it (default: %(default)s)",
    )


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.preparation.preparation import PreparationRules, prepare

    rules = PreparationRules(
        options.val_fraction, options.seed, options.smallest, options.drop, options.near_duplicates
    )
    return {"output": str(options.output), **asdict(prepare(options.data, options.output, rules, options.annotations))}


PREPROCESS = Command("check images, choose validation images, write a read-only manifest", _add_arguments, _run)
