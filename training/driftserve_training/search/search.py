"""The search itself: what is to be tried next, until all has been, whoever else is searching."""

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import isfinite

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import TrialState

from driftserve.errors import DataError, DriftserveError
from driftserve_training.search.ledger import AGAIN, ERROR, Attempt, find_attempt, read_ledger
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import Plan
from driftserve_training.search.space import Point, grid_sampler, suggest, tpe_sampler

VAL_ACCURACY, TEST_ACCURACY, SECONDS = "val_accuracy", "test_accuracy", "seconds"  # attributes of an attempt
_STILLBORN_AFTER = timedelta(minutes=10)

Watch = Callable[[int, float], None]
"""What a training tells after each epoch: its number, from 1, and the validation accuracy. It may end the training."""


@dataclass(frozen=True)
class Assignment:
    """What is to be trained: the trial's number, its point, and whether an attempt before was cut off or failed."""

    number: int
    point: Point
    is_again: bool


@dataclass(frozen=True)
class Outcome:
    """What a training was worth; `test_accuracy` is None where nobody looked."""

    val_accuracy: float
    test_accuracy: float | None = None


Train = Callable[[Assignment, Watch], Outcome]


class Search:
    """One process's part in a search.

    Args:
        study: optuna's, which other processes may hold too.
        plan: what is searched.
        train: what trains; a DriftserveError of it fails one trial, any other error ends the search.
        locks: those of the folder.
        has_local_processes: whether all who search are on these locks; otherwise heartbeats tell who lives.
        after_trial: called after each trial of this process.
        say: is given a line whenever something is worth one.
        pause_seconds: between two looks at whether the others are done.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: Plan,
        train: Train,
        locks: Locks,
        has_local_processes: bool,
        after_trial: Callable[[], None],
        say: Callable[[str], None],
        pause_seconds: float = 5.0,
    ) -> None:
        self._study = study
        self._plan = plan
        self._train = train
        self._locks = locks
        self._has_local_processes = has_local_processes
        self._after_trial = after_trial
        self._say = say
        self._pause_seconds = pause_seconds
        self._waits_for: list[int] = []

    def run(self) -> None:
        """Try what is still to be tried; then wait until the others have done so."""
        self._queue_again("failed")  # a new start is a new try: what they failed for may be gone
        while self._take_turn():
            pass

    def _take_turn(self) -> bool:
        """Try one, or wait a moment; False when there is nothing left to wait for."""
        with ExitStack() as held:
            held.enter_context(self._locks.turn())
            self._bury_dead()
            self._queue_again("cut off")
            ledger = self._ledger()
            states = [attempt.state for attempt in ledger]
            if "waiting" in states or len(ledger) < self._plan.trials:
                self._try_one(_Turn(held))
                return True
        if "running" not in states:
            return False
        self._wait([number for number, state in enumerate(states) if state == "running"])
        return True

    def _try_one(self, turn: "_Turn") -> None:
        try:
            self._study.optimize(lambda entry: self._try(entry, turn), n_trials=1, catch=(DriftserveError,))
        except (UpdateFinishedTrialError, ValueError):
            if not turn.is_lost:
                raise
            self._say(f"trial {turn.trial:04d} was given to another process, as this one had not been heard of")
        finally:
            if turn.trial is not None:  # not before optuna has noted how it ended
                self._locks.give_trial_back(turn.trial)
        if turn.trial is not None:
            self._after_trial()

    def _try(self, entry: optuna.Trial, turn: "_Turn") -> float:
        """Find out which trial an entry of the study is, and train it; the score that ranks it."""
        attempt = find_attempt(read_ledger(self._study.get_trials(deepcopy=False)), entry.number)
        if attempt is None or attempt.number >= self._plan.trials or not self._locks.take_trial(attempt.number):
            raise _OneTooMany  # two processes have seen the same gap
        number = turn.trial = attempt.number
        turn.held.close()
        is_grid = self._plan.sampler == "grid"
        self._study.sampler = (
            grid_sampler(self._plan.space, number) if is_grid else tpe_sampler(self._plan.seed, number)
        )
        assignment = Assignment(number, suggest(entry, self._plan.space), is_again=attempt.count > 1)
        try:
            return self._score(assignment, entry)
        except UpdateFinishedTrialError:
            turn.is_lost = True
            raise

    def _score(self, assignment: Assignment, entry: optuna.Trial) -> float:
        """Train, and note in the study what came of it; the score that ranks the trial."""
        name = f"trial {assignment.number:04d} {' '.join(str(value) for value in asdict(assignment.point).values())}"
        started = time.monotonic()
        try:
            outcome = self._train(assignment, self._watch(entry))
            score = outcome.test_accuracy if self._plan.rank_by == "test" else outcome.val_accuracy
            if score is None or not isfinite(score):  # optuna would fail the trial, and give no reason
                raise DataError(f"expected an accuracy to rank the trial by, got {score}")
        except optuna.TrialPruned:
            self._say(f"{name}: given up, below the median")
            raise
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            entry.set_user_attr(ERROR, str(error) or type(error).__name__)
            self._say(f"{name}: failed: {error}")
            raise
        finally:
            entry.set_user_attr(SECONDS, time.monotonic() - started)
        entry.set_user_attr(VAL_ACCURACY, outcome.val_accuracy)
        if outcome.test_accuracy is not None:
            entry.set_user_attr(TEST_ACCURACY, outcome.test_accuracy)
        self._say(f"{name}: {self._plan.rank_by} accuracy {score:.4f}")
        return score

    def _watch(self, trial: optuna.Trial) -> Watch:
        def watch(epoch: int, val_accuracy: float) -> None:
            trial.report(val_accuracy, epoch)
            if epoch < self._plan.epochs and trial.should_prune():  # after the last one there is nothing to save
                raise optuna.TrialPruned

        return watch

    def _bury_dead(self) -> None:
        """Mark as cut off what is said to run, and whose process does not live."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        for attempt in self._ledger():
            if attempt.state == "running" and self._is_dead(attempt):
                self._study.tell(attempt.entry.number, state=TrialState.FAIL, skip_if_finished=True)
                self._say(f"trial {attempt.number:04d} was cut off; it is run again")

    def _is_dead(self, attempt: Attempt) -> bool:
        if self._has_local_processes:  # whoever asks has the turn, so that none is between its entry and its lock
            if not self._locks.take_trial(attempt.number):
                return False
            self._locks.give_trial_back(attempt.number)
            return True
        started = attempt.entry.datetime_start  # killed before its first heartbeat, optuna would wait for it for ever
        return not attempt.entry.params and started is not None and datetime.now() - started > _STILLBORN_AFTER

    def _queue_again(self, state: str) -> None:
        for attempt in self._ledger():
            if attempt.state == state:
                self._study.enqueue_trial(
                    dict(attempt.entry.params), user_attrs={AGAIN: [attempt.number, attempt.count + 1]}
                )

    def _ledger(self) -> tuple[Attempt, ...]:
        """The trials that the plan has; there may be more, by a longer one or by two processes at once."""
        return read_ledger(self._study.get_trials(deepcopy=False))[: self._plan.trials]

    def _wait(self, running: list[int]) -> None:
        if running != self._waits_for:
            self._waits_for = running
            self._say(f"waiting for {', '.join(f'{number:04d}' for number in running)}, which other processes run")
        time.sleep(self._pause_seconds)


@dataclass
class _Turn:
    """The lock that others wait for, and the trial that was found to be next under it."""

    held: ExitStack
    trial: int | None = None
    is_lost: bool = False


class _OneTooMany(DriftserveError):
    """There is nothing to do for an entry of the study."""
