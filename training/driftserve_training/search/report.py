"""The report of a search: a Markdown table, a CSV file, and the winner's parameters as YAML."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from driftserve_training.parameters import BEST_PARAMETERS_FILE
from driftserve_training.search.plan import SEARCHED, Plan
from driftserve_training.search.ranking import RankedTrial, complete

TRIALS_FILE = "trials.csv"
TABLE_FILE = "table.md"
_COLUMNS = ("number", "state", *SEARCHED, "val_accuracy", "test_accuracy", "epochs", "seconds", "error")


@dataclass(frozen=True)
class WinnerScores:
    """The scores of the winner on the test split."""

    trial: int
    accuracy: float
    macro_f1: float


def write_trials(ranking: Sequence[RankedTrial], path: Path) -> None:
    """Write all trials as CSV, in the order of their numbers."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for trial in sorted(ranking, key=lambda trial: trial.number):
            point = asdict(trial.point).values() if trial.point else ("", "", "")
            results = (_share(trial.val_accuracy), _share(trial.test_accuracy), trial.epochs, _whole(trial.seconds))
            writer.writerow((trial.number, trial.state, *point, *results, trial.error or ""))


def write_table(ranking: Sequence[RankedTrial], plan: Plan, tested: WinnerScores | None, path: Path) -> None:
    """Write the trials as a Markdown table, the best first, and below it the winner's scores on the test split."""
    by_test = plan.rank_by == "test"
    lines = [
        "| Rank | Trial | Model | Optimizer | Learning rate | Validation accuracy |"
        + (" Test accuracy |" if by_test else "")
        + " Epochs | Seconds |",
        "|---:|---:|---|---|---:|---:|" + ("---:|" if by_test else "") + "---:|---:|",
    ]
    for place, trial in enumerate(ranking, start=1):
        cells = [str(place) if trial.state == "complete" else trial.state, f"{trial.number:04d}"]
        cells += (
            [trial.point.model, trial.point.optimizer, f"{trial.point.learning_rate:g}"] if trial.point else [""] * 3
        )
        cells += [_share(trial.val_accuracy), *([_share(trial.test_accuracy)] if by_test else [])]
        cells += [str(trial.epochs), _whole(trial.seconds)]
        lines.append(f"| {' | '.join(cells)} |")
    path.write_text("\n".join([*lines, "", _verdict(ranking, plan, tested), ""]))


def write_winner(ranking: Sequence[RankedTrial], plan: Plan, study: str, path: Path) -> None:
    """Write the winner's parameters as `best_params.yaml`, which `train --config` takes."""
    winner, *_ = complete(ranking)
    if winner.point is None or winner.score is None:
        raise AssertionError("a trial that is complete has parameters and a score")
    trials = f"of {len(ranking)} trials" if len(ranking) > 1 else "(the only one)"
    comment = (
        f"# The winner of the search {study!r}: trial {winner.number:04d} {trials}, "
        f"{plan.rank_by} accuracy {winner.score:.4f}.\n"
        f"# To train with these parameters: train --config {BEST_PARAMETERS_FILE}\n"
    )
    path.write_text(comment + yaml.safe_dump(asdict(winner.point), sort_keys=False))


def _verdict(ranking: Sequence[RankedTrial], plan: Plan, tested: WinnerScores | None) -> str:
    winners = complete(ranking)
    if not winners:
        return "No trial is complete yet."
    ranked = f"Ranked by {plan.rank_by} accuracy; {len(winners)} of {len(ranking)} trials are complete."
    if tested is None:
        return f"{ranked} The winner, trial {winners[0].number:04d}, has not been scored on the test split."
    scores = f"accuracy {tested.accuracy:.4f}, macro F1 {tested.macro_f1:.4f}"
    if plan.rank_by == "test":
        return (
            f"{ranked} The winner's scores on the test split are {scores}. They are probably too high, because the "
            "winner was selected on this split."
        )
    return f"{ranked} The winner was then scored once on the test split: {scores}."


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
