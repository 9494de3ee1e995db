"""Plots of a search: its history, and the importance of each parameter."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import matplotlib.ticker
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from driftserve_training.search.ranking import RankedTrial, complete

HISTORY_FILE = "history.png"
IMPORTANCES_FILE = "importances.png"
_TOP_TRIALS = 5  # minimum number of the best trials, as the authors of PED-ANOVA recommend


def importances(study: optuna.Study) -> Mapping[str, float]:
    """Return how much each searched parameter decides whether a trial is among the best; largest first, sum 1.

    Computed by PED-ANOVA (Watanabe et al. 2023) over the complete trials. The best trials are a tenth of them, or five
    if that is more, but at most half. The result is empty for fewer than two complete trials.
    """
    ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(ended) < 2:
        return {}
    share = max(0.1, min(0.5, _TOP_TRIALS / len(ended)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna warns if all scores are equal; the plot shows that
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=share))


def draw_importances(shares: Mapping[str, float], path: Path) -> None:
    """Draw the importances as bars; write a PNG."""
    figure = matplotlib.figure.Figure(figsize=(7, 2.5), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    bars = axes.barh([name.replace("_", " ") for name in names], [shares[name] for name in names])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlim=(0, 1.1), xlabel="importance for being among the best trials (PED-ANOVA)")
    if not shares:
        axes.text(0.55, 0.5, "fewer than two complete trials", ha="center", transform=axes.transAxes)
    figure.savefig(path, dpi=120)


def draw_history(ranking: Sequence[RankedTrial], rank_by: str, path: Path) -> None:
    """Draw the scores of the trials in the order of their numbers, and the best score so far; write a PNG."""
    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    ended = sorted(complete(ranking), key=lambda trial: trial.number)
    scores = [trial.score for trial in ended if trial.score is not None]
    best = [max(scores[: count + 1]) for count in range(len(scores))]
    numbers = [trial.number for trial in ended]
    axes.scatter(numbers, scores, label=f"{rank_by} accuracy")
    axes.step(numbers, best, where="post", color="tab:red", label="best so far")
    pruned = {trial.number: trial.val_accuracy for trial in ranking if trial.state == "pruned"}
    pruned_accuracies = {number: accuracy for number, accuracy in pruned.items() if accuracy is not None}
    if pruned_accuracies:
        axes.scatter(
            list(pruned_accuracies),
            list(pruned_accuracies.values()),
            marker="x",
            color="tab:gray",
            label="pruned (validation)",
        )
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
