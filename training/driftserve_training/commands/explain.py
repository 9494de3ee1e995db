"""Command `explain`: show which pixels of an image support its predicted label, and test the explanations."""

import argparse
from pathlib import Path
from typing import get_args

from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import whole_number
from driftserve_training.configuration import SPLITS, STREAM
from driftserve_training.dataset.location import located
from driftserve_training.explanation.document import DOCUMENT_FILE, FOLDER, Method
from driftserve_training.parameters import add_locations, read_locations

_MOST_IMAGES = 100  # file names have two digits, and nobody looks at more
_MOST_SEED = 2**32 - 1


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trained",
        type=Path,
        required=True,
        metavar="RUN",
        help="the --output of `train`; the results are written to its folder explanations/",
    )
    parser.add_argument(
        "--split",
        choices=(*SPLITS, STREAM),
        default="test",
        help="split with the images to explain; stream has images that imitate live traffic (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=whole_number(1, _MOST_IMAGES),
        default=12,
        metavar="N",
        help="number of images to explain; half of them, if possible, are the wrong predictions with the "
        "highest confidence (default: %(default)s)",
    )
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        default="integrated_gradients",
        help="integrated_gradients: every pixel, slow, any network. grad_cam: coarse, fast, only for convolutional "
        "networks. occlusion: covers one square after another (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, _MOST_SEED),
        default=0,
        metavar="N",
        help="random seed of the choice of images and of the orders in the removal check (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=whole_number(2, 10_000),
        default=64,
        metavar="N",
        help="steps of integrated_gradients; more steps are more exact and slower (default: %(default)s)",
    )
    parser.add_argument(
        "--randomisation",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also test that the explanations change when the weights are randomised layer by layer "
        "(default: %(default)s)",
    )
    add_locations(parser)


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.explanation.explaining import explain

    with located(read_locations(options), (options.split,)) as data:
        document = explain(
            options.trained,
            data,
            options.split,
            options.images,
            options.method,
            options.seed,
            options.steps,
            options.randomisation,
        )
    faithfulness = document.faithfulness
    return {
        "explanations": str(options.trained / FOLDER / DOCUMENT_FILE),
        "images": len(document.explanations),
        "mistakes": sum(one.label != one.predicted for one in document.explanations),
        "parity_max_abs_diff": document.parity_max_abs_diff,
        "deletion_gain": faithfulness and faithfulness.gain.value,
        "better_than_random": faithfulness and faithfulness.better_than_random,
        "deletion_gain_over_moved": faithfulness and faithfulness.gain_over_moved.value,
    }


EXPLAIN = Command(
    "show which pixels support the predicted label, and check this by removing them",
    _add_arguments,
    _run,
    "The check replaces the most important parts of an image by its mean colour, and measures how fast the "
    "probability of the label falls.",
)
