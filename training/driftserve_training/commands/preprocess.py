"""`preprocess`: check what was fetched, split off validation, write the manifest."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import share, whole_number


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="the --output of `fetch`")
    parser.add_argument(
        "--output", type=Path, required=True, help="new or empty folder for train/, val/, test/ and manifest.csv"
    )
    parser.add_argument(
        "--val-fraction",
        type=share,
        default=0.15,
        help="share of each class's training images that validate, where the data has no val/ (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of these (default: %(default)s)")
    parser.add_argument(
        "--annotations",
        metavar="RELEASE",
        help="labels from Label Studio, which replace the folders' and add images: its JSON export, or the folder or "
        "s3://BUCKET/PREFIX that it stores annotations in",
    )
    parser.add_argument(
        "--smallest",
        type=whole_number(1),
        default=32,
        help="pixels that an image's shorter side must have (default: %(default)s)",
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="leave out images that cannot be used (corrupt, too small, in two splits or under two labels), listed in "
        "rejected.csv; without it they are an error",
    )
    parser.add_argument(
        "--near-duplicates",
        choices=("list", "refuse", "drop"),
        default="list",
        help="what to do with images that are nearly the same as one in another split, such as the same photo smaller "
        "or compressed anew: list them in near_duplicates.csv; refuse them as an error; or drop them, of train first, "
        "then of stream and val, so that test keeps its own (default: %(default)s)",
    )


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.preparation.preparation import PreparationRules, prepare

    rules = PreparationRules(
        options.val_fraction, options.seed, options.smallest, options.drop, options.near_duplicates
    )
    return {"output": str(options.output), **asdict(prepare(options.data, options.output, rules, options.annotations))}


PREPROCESS = Command("check images, split off validation, write an immutable manifest", _add_arguments, _run)
