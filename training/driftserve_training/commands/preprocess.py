"""Command `preprocess`: check fetched images, split off validation, write the manifest."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import share, whole_number


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="the --output of `fetch`")
    parser.add_argument(
        "--output", type=Path, required=True, help="new or empty folder; receives train/, val/, test/ and manifest.csv"
    )
    parser.add_argument(
        "--val-fraction",
        type=share,
        default=0.15,
        help="fraction of each class's training images to move to val/ if there is no val/ (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of that choice (default: %(default)s)")
    parser.add_argument(
        "--annotations",
        metavar="RELEASE",
        help="labels from Label Studio, which replace the labels of the folders and may add images: its JSON export, "
        "or the folder or s3://BUCKET/PREFIX in which it stores annotations",
    )
    parser.add_argument(
        "--smallest",
        type=whole_number(1),
        default=32,
        help="minimum length of an image's shorter side, in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="drop unusable images (corrupt, too small, in two splits or with two labels) and list them in "
        "rejected.csv; without this flag they are an error",
    )
    parser.add_argument(
        "--near-duplicates",
        choices=("list", "refuse", "drop"),
        default="list",
        help="what to do with images that are nearly the same as an image in another split, such as a resized or "
        "recompressed photo: list them in near_duplicates.csv; refuse them as an error; or drop them, first from "
        "train, then from stream, then from val; test keeps all its images (default: %(default)s)",
    )


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.preparation.preparation import PreparationRules, prepare

    rules = PreparationRules(
        options.val_fraction, options.seed, options.smallest, options.drop, options.near_duplicates
    )
    return {"output": str(options.output), **asdict(prepare(options.data, options.output, rules, options.annotations))}


PREPROCESS = Command("check images, split off validation images, write an immutable manifest", _add_arguments, _run)
