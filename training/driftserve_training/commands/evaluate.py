"""Command `evaluate`: measure how well a trained network classifies images that it has not seen."""

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
        metavar="RUN",
        help="the --output of `train`. The results are written there: evaluation.json, predictions-<split>.csv, and "
        "label_issues-<split>.csv with the images whose label is probably wrong",
    )
    parser.add_argument(
        "--split",
        choices=[*SPLITS, STREAM],
        default=_DEFAULT.split,
        help="split to evaluate; stream has images that imitate live traffic (default: %(default)s)",
    )
    parser.add_argument(
        "--robustness-images",
        type=_images,
        default=_DEFAULT.robustness_images,
        metavar="N",
        help="number of images for the robustness test, which is slow: it measures the accuracy under 15 corruptions, "
        "each at 5 severities. `all` uses all images, 0 skips the test (default: %(default)s)",
    )
    parser.add_argument(
        "--adversary-images",
        type=_images,
        default=_DEFAULT.adversary_images,
        metavar="N",
        help="number of images for the adversarial test: it measures the accuracy under the attacks FGSM and PGD. "
        "`all` uses all images, 0 skips the test (default: %(default)s)",
    )
    parser.add_argument(
        "--champion",
        type=Path,
        metavar="PATH",
        help="network to compare with, usually the champion. Give one of three: the folder of another evaluated run; "
        "its predictions-<split>.csv; or an archive (.mar, model.tar.gz, or a folder with one .mar), which then "
        "classifies the images",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="folder that keeps the corrupted images, so that the next evaluation of a network with the same input "
        "size is faster",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=_DEFAULT.batch_size,
        metavar="N",
        help="number of images per batch (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(0),
        default=_DEFAULT.workers,
        metavar="N",
        help="number of processes that read and corrupt images (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=_DEFAULT.seed,
        metavar="N",
        help="random seed of resamples and corruptions (default: %(default)s)",
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


EVALUATE = Command("measure the accuracy of a trained network, with confidence intervals", _add_arguments, _run)
