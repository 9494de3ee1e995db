"""Command `tune`: search models, optimizers and learning rates, and save the best."""

import argparse
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from driftserve.errors import DataError
from driftserve_training.commands.command import Command
from driftserve_training.commands.numbers import whole_number
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.parameters import add_flags, from_environment, read_configuration, read_yaml
from driftserve_training.search.plan import SEARCHED, make_plan
from driftserve_training.search.space import Space

T = TypeVar("T")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    searched = parser.add_argument_group("search space")
    searched.add_argument(
        "--models", type=_models, required=True, metavar="NAME,...", help="timm models to try, separated by commas"
    )
    searched.add_argument(
        "--optimizers",
        type=_models,
        default=("adamw", "sgd"),
        metavar="NAME,...",
        help="timm optimizers to try (default: adamw,sgd)",
    )
    searched.add_argument(
        "--learning-rates",
        type=_rates,
        default=(0.001, 0.003, 0.01),
        metavar="X,...",
        help="learning rates of the grid; tpe tries any rate between the smallest and the largest "
        "(default: 0.001,0.003,0.01)",
    )
    how = parser.add_argument_group("search method")
    how.add_argument(
        "--sampler",
        choices=["grid", "tpe"],
        default="grid",
        help="grid: try every combination once. tpe: try --trials combinations, most of them near the best earlier "
        "ones (Tree-structured Parzen Estimator) (default: grid)",
    )
    how.add_argument(
        "--trials",
        type=whole_number(1),
        metavar="N",
        help="number of trials for tpe, including the finished ones of a resumed search",
    )
    how.add_argument(
        "--pruner",
        choices=["median", "none"],
        default="median",
        help="median: stop a trial that is below the median of the others at the same epoch (default: median)",
    )
    how.add_argument(
        "--rank-by",
        choices=["validation", "test"],
        default="validation",
        help="images that rank the trials. validation: val/, and test/ is used only once, for the winner. test: test/, "
        "which makes the test score of the winner too good (default: validation)",
    )
    how.add_argument(
        "--storage",
        metavar="URL",
        help="database that several machines share for one search, postgresql+psycopg://USER@HOST/NAME (default: the "
        "file study.journal in --output, which several processes on one machine can share)",
    )
    how.add_argument(
        "--study", default="search", metavar="NAME", help="name of the search in --storage (default: search)"
    )
    how.add_argument(
        "--output",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="folder for best_params.yaml, the table of trials, plots and trials/; a search that is already there is "
        "resumed",
    )
    add_flags(parser, TrainingConfiguration, (*SEARCHED, "output"))


def _run(options: argparse.Namespace) -> dict[str, object]:
    for place, names in (
        ("the environment", from_environment(os.environ)),
        (str(options.config), read_yaml(options.config) if options.config else {}),
    ):
        _check_none_searched(names, place)
    configuration = read_configuration(options, os.environ)

    from tqdm import tqdm

    from driftserve_training.search.tuning import tune

    plan = make_plan(
        configuration,
        Space(options.models, options.optimizers, options.learning_rates),
        options.sampler,
        options.trials,
        options.pruner,
        options.rank_by,
    )
    tuned = tune(
        configuration, plan, options.storage, options.study, lambda line: tqdm.write(f"tune: {line}", file=sys.stderr)
    )
    return tuned.summary()


def _check_none_searched(names: Collection[str], place: str) -> None:
    for name in SEARCHED:
        if name in names:
            raise DataError(f"{place}: expected no {name}, as `tune` searches it; remove it, or use `train`")


def _models(text: str) -> tuple[str, ...]:
    return _list(text, str)


def _rates(text: str) -> tuple[float, ...]:
    rates = _list(text, float)
    if not all(0 < rate < float("inf") for rate in rates):
        raise argparse.ArgumentTypeError(f"expected rates over 0, got {text!r}")
    return rates


def _list(text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    try:
        values = tuple(kind(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers, separated by commas, got {text!r}") from error
    if "" in values or len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"expected each value once, separated by commas, got {text!r}")
    return values


TUNE = Command("search models, optimizers and learning rates, and save the best", _add_arguments, _run)
