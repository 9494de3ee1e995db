"""A complete search: start or continue it, then write its report."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna

from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.location import located
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.parameters import BEST_PARAMETERS_FILE
from driftserve_training.ranks import read_ranks
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import Plan, identify
from driftserve_training.search.plots import (
    HISTORY_FILE,
    IMPORTANCES_FILE,
    draw_history,
    draw_importances,
    importances,
)
from driftserve_training.search.ranking import RankedTrial, complete, rank
from driftserve_training.search.report import (
    TABLE_FILE,
    TRIALS_FILE,
    WinnerScores,
    write_table,
    write_trials,
    write_winner,
)
from driftserve_training.search.scoring import make_pruner
from driftserve_training.search.search import Search
from driftserve_training.search.storage import open_database, open_journal, open_study, storage_errors
from driftserve_training.search.trial import Training, check_names, check_networks, remove_losers, trial_folder

_LOCKS_FILE = "study.locks"
_TESTED = "tested"  # attribute of the study: the winner's scores on the test split


@dataclass(frozen=True)
class TuningResult:
    """The result of a search; `tested` is None if the winner's network is on another machine."""

    ranking: tuple[RankedTrial, ...]
    tested: WinnerScores | None

    def summary(self) -> dict[str, object]:
        """Return the winner and the scores, as JSON values."""
        winner = complete(self.ranking)[0]
        return {
            "trial": winner.number,
            "parameters": asdict(winner.point) if winner.point else {},
            "val_accuracy": winner.val_accuracy,
            "test_accuracy": self.tested.accuracy if self.tested else None,
            "test_macro_f1": self.tested.macro_f1 if self.tested else None,
            "trials": dict(Counter(trial.state for trial in self.ranking)),
        }


def tune(
    configuration: TrainingConfiguration,
    plan: Plan,
    storage_url: str | None,
    study_name: str,
    print_line: Callable[[str], None],
) -> TuningResult:
    """Search until every trial of the plan has ended, in this process or in another one; then write the report.

    Raises:
        DataError: the images, a model, an optimizer or the storage cannot be used, the study is of another search, or
            every trial failed.
    """
    if read_ranks().processes > 1:
        raise DataError(
            "expected one process for a search, got several by torchrun; start `tune` several times on one --storage"
        )
    check_names(plan.space)  # first, because reading many images takes long
    with located(configuration) as data:
        return _tune(configuration.within(data), scan(data), plan, storage_url, study_name, print_line)


def _tune(
    configuration: TrainingConfiguration,
    manifest: Manifest,
    plan: Plan,
    storage_url: str | None,
    study_name: str,
    print_line: Callable[[str], None],
) -> TuningResult:
    check_networks(configuration, plan.space, len(manifest.labels))
    output = configuration.output
    locks = Locks(output / _LOCKS_FILE)
    training = Training(configuration, plan, manifest)
    with storage_errors(storage_url):
        storage = open_database(storage_url) if storage_url else open_journal(output, locks)
        study = open_study(storage, study_name, make_pruner(plan), identify(plan, configuration, manifest.sha256))

        def after_trial() -> None:
            with locks.turn():
                ranking = rank(study, plan.trials)
                remove_losers(output, _losers(ranking))
                write_trials(ranking, output / TRIALS_FILE)

        Search(study, plan, training, locks, storage_url is None, after_trial, print_line).run()
        with locks.turn():
            return _conclude(study, plan, training, output)


def _conclude(study: optuna.Study, plan: Plan, training: Training, output: Path) -> TuningResult:
    ranking = rank(study, plan.trials)
    write_trials(ranking, output / TRIALS_FILE)
    if not complete(ranking):
        reason = next((trial.error for trial in ranking if trial.error), "no trial was started")
        raise DataError(f"expected a complete trial, got {len(ranking)} that failed; one of the errors: {reason}")
    tested = _test_once(study, complete(ranking)[0], training, output)
    write_table(ranking, plan, tested, output / TABLE_FILE)
    write_winner(ranking, plan, study.study_name, output / BEST_PARAMETERS_FILE)
    draw_importances(importances(study), output / IMPORTANCES_FILE)
    draw_history(ranking, plan.rank_by, output / HISTORY_FILE)
    return TuningResult(ranking, tested)


def _test_once(study: optuna.Study, winner: RankedTrial, training: Training, output: Path) -> WinnerScores | None:
    """Return the winner's scores on the test split; a process without its network reads them from the study.

    Return None if no process with the network has measured them yet.
    """
    saved = study.user_attrs.get(_TESTED)
    if saved is not None and saved["trial"] == winner.number:
        return WinnerScores(**saved)
    if not list(trial_folder(output, winner.number).glob("*.pt")):
        return None
    tested = training.test(winner.number)
    study.set_user_attr(_TESTED, asdict(tested))
    return tested


def _losers(ranking: tuple[RankedTrial, ...]) -> list[int]:
    """Return the numbers of the trials that cannot win any more: beaten or pruned ones."""
    ended = complete(ranking)
    return [trial.number for trial in ended[1:]] + [trial.number for trial in ranking if trial.state == "pruned"]
