"""The search loop of one process: run one trial after another until all are done. Other processes may help."""

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import TrialState

from driftserve.errors import DriftserveError
from driftserve_training.search.ledger import RETRY, Attempt, State, find_attempt, read_ledger
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import Plan
from driftserve_training.search.sampling import sample
from driftserve_training.search.scoring import Assignment, Train, score_trial

_START_TIMEOUT = timedelta(minutes=10)


class Search:
    """One process's part in a search.

    Args:
        study: optuna's study; other processes may use it, too.
        plan: plan of the search.
        train: trains a trial; if it raises a DriftserveError, the trial fails; any other error ends the search.
        locks: locks of the folder.
        has_local_processes: whether all processes of the search use these locks; if not, heartbeats show which live.
        after_trial: called after each trial of this process.
        print_line: called with each line of progress.
        pause_seconds: pause between two checks whether other processes are done.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: Plan,
        train: Train,
        locks: Locks,
        has_local_processes: bool,
        after_trial: Callable[[], None],
        print_line: Callable[[str], None],
        pause_seconds: float = 5.0,
    ) -> None:
        self._study = study
        self._plan = plan
        self._train = train
        self._locks = locks
        self._has_local_processes = has_local_processes
        self._after_trial = after_trial
        self._print_line = print_line
        self._pause_seconds = pause_seconds
        self._waits_for: list[int] = []

    def run(self) -> None:
        """Run trials until none is left; then wait until the other processes have ended their trials."""
        with self._locks.turn():
            self._queue_retries("failed")  # each start retries failed trials: the reason may be gone
        while self._take_turn():
            pass

    def _take_turn(self) -> bool:
        """Run one trial, or wait a moment if others are running; return False if all trials have ended."""
        with ExitStack() as held:
            held.enter_context(self._locks.turn())
            self._mark_dead_trials()
            self._queue_retries("cut off")
            ledger = self._ledger()
            states = [attempt.state for attempt in ledger]
            if "waiting" in states or len(ledger) < self._plan.trials:
                self._try_one(_Turn(held))
                return True
        unsettled = [number for number, state in enumerate(states) if state in ("running", "cut off")]
        if unsettled:
            self._wait(unsettled)
        return bool(unsettled)

    def _try_one(self, turn: "_Turn") -> None:
        try:
            self._study.optimize(lambda entry: self._try(entry, turn), n_trials=1, catch=(DriftserveError,))
        except (UpdateFinishedTrialError, ValueError):
            if not turn.is_lost:
                raise
            self._print_line(f"trial {turn.trial:04d} was given to another process, because this one seemed dead")
        finally:
            if turn.trial is not None:  # only after optuna has stored the result
                self._locks.give_trial_back(turn.trial)
        if turn.trial is not None:
            self._after_trial()

    def _try(self, entry: optuna.Trial, turn: "_Turn") -> float:
        """Find the trial that an entry of the study belongs to, and train it; return the score that ranks the trial."""
        attempt = find_attempt(read_ledger(self._study.get_trials(deepcopy=False)), entry.number)
        if attempt is None or attempt.number >= self._plan.trials or not self._locks.take_trial(attempt.number):
            raise _SurplusEntry  # two processes created an entry for the same trial
        number = turn.trial = attempt.number
        turn.held.close()
        assignment = Assignment(number, sample(entry, number, self._plan), is_retry=attempt.count > 1)
        try:
            return score_trial(assignment, entry, self._plan, self._train, self._print_line)
        except UpdateFinishedTrialError:
            turn.is_lost = True
            raise

    def _mark_dead_trials(self) -> None:
        """Mark running trials as cut off if their process is dead."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        for attempt in self._ledger():
            if attempt.state == "running" and self._is_dead(attempt):
                self._study.tell(attempt.entry.number, state=TrialState.FAIL, skip_if_finished=True)
                self._print_line(f"trial {attempt.number:04d} was cut off; it will run again")

    def _is_dead(self, attempt: Attempt) -> bool:
        if self._has_local_processes:  # the caller holds the turn: each running process has locked its trial
            return self._is_free(attempt)
        started = attempt.entry.datetime_start  # optuna waits for ever for a process killed before its first heartbeat
        return not attempt.entry.params and started is not None and datetime.now() - started > _START_TIMEOUT

    def _is_free(self, attempt: Attempt) -> bool:
        """Return whether no living process that uses this folder holds the lock of the trial."""
        if not self._locks.take_trial(attempt.number):
            return False
        self._locks.give_trial_back(attempt.number)
        return True

    def _queue_retries(self, state: State) -> None:
        for attempt in self._ledger():
            if attempt.state == state and self._is_free(attempt):
                self._study.enqueue_trial(
                    dict(attempt.entry.params), user_attrs={RETRY: [attempt.number, attempt.count + 1]}
                )

    def _ledger(self) -> tuple[Attempt, ...]:
        """Return the trials of the plan. The study can have more, if its plan was longer or two processes raced."""
        return read_ledger(self._study.get_trials(deepcopy=False))[: self._plan.trials]

    def _wait(self, running: list[int]) -> None:
        if running != self._waits_for:
            self._waits_for = running
            self._print_line(
                f"waiting for other processes to end trials {', '.join(f'{number:04d}' for number in running)}"
            )
        time.sleep(self._pause_seconds)


@dataclass
class _Turn:
    """The lock that other processes wait for, and the trial that this process found while it held the lock."""

    held: ExitStack
    trial: int | None = None
    is_lost: bool = False


class _SurplusEntry(DriftserveError):
    """Raised for an entry of the study for which there is nothing to do."""
