"""The trials of a search, read from an optuna study, which has one entry for each attempt at a trial."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

# Names of attributes of an entry in the study.
RETRY = "again"  # only in a retry: the number of the trial and the number of the attempt
ERROR = "error"  # only in an attempt that failed: the reason

State = Literal["complete", "pruned", "failed", "cut off", "running", "waiting"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Attempt:
    """The last attempt at a trial of the search; `count` is 1 for the first attempt, `entry` is optuna's trial."""

    number: int
    count: int
    entry: FrozenTrial

    @property
    def state(self) -> State:
        """The state of the attempt; `cut off`: its process stopped before it stored a result or an error."""
        if self.entry.state == TrialState.FAIL:
            return "failed" if ERROR in self.entry.user_attrs else "cut off"
        return _STATES[self.entry.state]


def read_ledger(entries: Sequence[FrozenTrial]) -> tuple[Attempt, ...]:
    """Return the trials by their number, each with its last attempt.

    An entry without the attribute `RETRY` is a new trial. New trials are numbered in optuna's order. If two entries are
    the same attempt at a trial, the first one counts. Optuna gives each number to one process only, and an entry has
    its attributes from the start. So all processes read the same trials, and agree on which process runs which trial.
    """
    ledger: list[Attempt] = []
    for entry in sorted(entries, key=lambda entry: entry.number):
        again = entry.user_attrs.get(RETRY)
        if again is None:
            ledger.append(Attempt(len(ledger), 1, entry))
        else:
            number, count = again
            if count == ledger[number].count + 1:
                ledger[number] = Attempt(number, count, entry)
    return tuple(ledger)


def find_attempt(ledger: Sequence[Attempt], entry_number: int) -> Attempt | None:
    """Return the attempt of an entry of the study; None if the entry is not the last attempt at a trial."""
    return next((attempt for attempt in ledger if attempt.entry.number == entry_number), None)
