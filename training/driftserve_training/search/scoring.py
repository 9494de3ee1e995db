"""Scoring of one trial: run its training, and store the results in the study."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isfinite

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner

from driftserve.errors import DataError
from driftserve_training.search.ledger import ERROR
from driftserve_training.search.plan import Plan
from driftserve_training.search.space import Point

VAL_ACCURACY, TEST_ACCURACY, SECONDS = "val_accuracy", "test_accuracy", "seconds"  # names of an attempt's attributes
_STARTUP_TRIALS = 4  # number of trials that must complete, neither pruned nor failed, before one can be pruned

EpochCallback = Callable[[int, float], None]
"""Called after each epoch with its number, from 1, and the validation accuracy. It may end the training by raising."""


@dataclass(frozen=True)
class Assignment:
    """What to train: the trial's number, its point, and whether an earlier attempt was cut off or failed."""

    number: int
    point: Point
    is_retry: bool


@dataclass(frozen=True)
class Outcome:
    """The result of a training; `test_accuracy` is None if it was not measured."""

    val_accuracy: float
    test_accuracy: float | None = None


Train = Callable[[Assignment, EpochCallback], Outcome]


def score_trial(
    assignment: Assignment, entry: optuna.Trial, plan: Plan, train: Train, print_line: Callable[[str], None]
) -> float:
    """Train one trial and store its results in the study; return the score that ranks it."""
    name = f"trial {assignment.number:04d} {' '.join(str(value) for value in asdict(assignment.point).values())}"
    started = time.monotonic()
    try:
        outcome = train(assignment, _make_epoch_callback(entry, plan))
        score = outcome.test_accuracy if plan.rank_by == "test" else outcome.val_accuracy
        if score is None or not isfinite(score):  # optuna would store no reason for the failure
            raise DataError(f"expected an accuracy to rank the trial by, got {score}")
    except optuna.TrialPruned:
        print_line(f"{name}: pruned, below the median")
        raise
    except UpdateFinishedTrialError:
        raise
    except Exception as error:
        entry.set_user_attr(ERROR, str(error) or type(error).__name__)
        print_line(f"{name}: failed: {error}")
        raise
    finally:
        entry.set_user_attr(SECONDS, time.monotonic() - started)
    entry.set_user_attr(VAL_ACCURACY, outcome.val_accuracy)
    if outcome.test_accuracy is not None:
        entry.set_user_attr(TEST_ACCURACY, outcome.test_accuracy)
    print_line(f"{name}: {plan.rank_by} accuracy {score:.4f}")
    return score


def make_pruner(plan: Plan) -> BasePruner:
    """Return a pruner.

    It ends a trial if its best validation accuracy so far is below the median of the completed trials at this epoch.
    """
    if plan.pruner == "none":
        return NopPruner()
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=plan.warmup_epochs)


def _make_epoch_callback(entry: optuna.Trial, plan: Plan) -> EpochCallback:
    def on_epoch(epoch: int, val_accuracy: float) -> None:
        entry.report(val_accuracy, epoch)
        if epoch < plan.epochs and entry.should_prune():  # after the last epoch there is nothing to save
            raise optuna.TrialPruned

    return on_epoch
