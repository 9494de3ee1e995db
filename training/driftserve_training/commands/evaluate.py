"""`evaluate`: what a trained network is worth on images that it has not seen."""

import argparse
from dataclasses import asdict
from pathlib import Path

from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import whole_number
from driftserve_training.configuration import SPLITS, STREAM
from driftserve_training.dataset.location import located
from driftserve_training.evaluation.options import AssessmentOptions
from driftserve_training.parameters import add_locations, read_locations

_DEFAULT = AssessmentOptions()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trained",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the --output of `train`; evaluation.json goes there, and label_issues-<split>.csv, the images whose "
        "label is probably wrong",
    )
    parser.add_argument(
        "--split", choices=[*SPLITS, STREAM], default=_DEFAULT.split, help="which images (default: %(default)s)"
    )
    parser.add_argument(
        "--robustness-images",
        type=_images,
        default=_DEFAULT.robustness_images,
        metavar="N",
        help="of how many of them to measure the accuracy under 15 corruptions at 5 severities, the slow part; "
        "`all`, or 0 to leave it out (default: %(default)s)",
    )
    parser.add_argument(
        "--adversary-images",
        type=_images,
        default=_DEFAULT.adversary_images,
        metavar="N",
        help="of how many to measure the accuracy under attack (FGSM, PGD); `all`, or 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--champion",
        type=Path,
        metavar="PATH",
        help="what to test this network against: another evaluated --trained folder, its predictions-<split>.csv, or "
        "an archive (a .mar, or the model.tar.gz or folder that holds one), which is asked for its answers",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="keep corrupted images here, for the next network that takes them at the same size",
    )
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=_DEFAULT.batch_size, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=whole_number(0),
        default=_DEFAULT.workers,
        metavar="N",
        help="processes that read and corrupt (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=_DEFAULT.seed,
        metavar="N",
        help="of resamples and corruptions (default: %(default)s)",
    )
    add_locations(parser)


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.evaluation.assessment import assess

    assessment = AssessmentOptions(
        split=options.split,
        robustness_images=options.robustness_images,
        adversary_images=options.adversary_images,
        champion=options.champion,
        cache=options.cache,
        batch_size=options.batch_size,
        workers=options.workers,
        seed=options.seed,
    )
    with located(read_locations(options), (assessment.split,)) as data:
        evaluation = assess(options.trained, data, assessment)
    robustness, comparison = evaluation.robustness, evaluation.comparison
    return {
        "split": evaluation.split,
        "images": evaluation.images,
        "accuracy": asdict(evaluation.accuracy),
        "macro_f1": asdict(evaluation.macro_f1),
        "ece": evaluation.calibrated.ece,
        "mean_corruption_accuracy": asdict(robustness.mean_corruption_accuracy) if robustness else None,
        "label_issues": evaluation.label_issues,
        "champion_difference": asdict(comparison.difference) if comparison else None,
        "champion_p_value": comparison.p_value if comparison else None,
    }


def _images(text: str) -> int | None:
    return None if text == "all" else whole_number(0, alternative=" or `all`")(text)


EVALUATE = Command("measure what a trained network is worth, and how sure that is", _add_arguments, _run)
