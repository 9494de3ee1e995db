"""The ranking of a search: its trials from best to worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import optuna
from optuna.trial import FrozenTrial

from driftserve_training.search.ledger import ERROR, Attempt, State, read_ledger
from driftserve_training.search.plan import SEARCHED
from driftserve_training.search.scoring import SECONDS, TEST_ACCURACY, VAL_ACCURACY
from driftserve_training.search.space import Point

_ORDER: Mapping[State, int] = {"complete": 0, "pruned": 1, "running": 2, "waiting": 3, "cut off": 4, "failed": 5}


@dataclass(frozen=True)
class RankedTrial:
    """One trial: its parameters and its results so far.

    `score` ranks the trial; for a pruned trial it is the validation accuracy of its last epoch. `val_accuracy` is the
    accuracy of the best epoch so far. `seconds` is the duration of the last attempt.
    """

    number: int
    state: State
    point: Point | None
    score: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    epochs: int
    seconds: float | None
    error: str | None


def rank(study: optuna.Study, trials: int) -> tuple[RankedTrial, ...]:
    """Return the trials with a number below `trials`, ranked: by state (`_ORDER`), by score, and by number."""
    ledger = read_ledger(study.get_trials(deepcopy=False))[:trials]
    return tuple(sorted((_to_ranked(attempt) for attempt in ledger), key=_sort_key))


def complete(ranking: Sequence[RankedTrial]) -> tuple[RankedTrial, ...]:
    """Return the complete trials, the winner first."""
    return tuple(trial for trial in ranking if trial.state == "complete")


def _sort_key(trial: RankedTrial) -> tuple[int, float, int]:
    return _ORDER[trial.state], -(trial.score if trial.score is not None else -inf), trial.number


def _to_ranked(attempt: Attempt) -> RankedTrial:
    entry: FrozenTrial = attempt.entry
    val_accuracies = entry.intermediate_values
    attributes = entry.user_attrs
    has_point = all(name in entry.params for name in SEARCHED)
    return RankedTrial(
        number=attempt.number,
        state=attempt.state,
        point=Point(**{name: entry.params[name] for name in SEARCHED}) if has_point else None,
        score=entry.value,
        val_accuracy=attributes.get(VAL_ACCURACY, max(val_accuracies.values(), default=None)),
        test_accuracy=attributes.get(TEST_ACCURACY),
        epochs=max(val_accuracies, default=0),
        seconds=attributes.get(SECONDS),
        error=attributes.get(ERROR),
    )
