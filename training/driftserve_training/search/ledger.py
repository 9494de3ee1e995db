"""The trials of a search, read off the trials of an optuna study, which has one for each attempt at each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

RETRY = "again"  # attribute of a retry: the trial's number, and which attempt it is
ERROR = "error"  # attribute of an attempt that failed by itself: why

State = Literal["complete", "pruned", "failed", "cut off", "running", "waiting"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Attempt:
    """The last attempt at a trial of the search; `count` is 1 for the first one, `entry` is optuna's."""

    number: int
    count: int
    entry: FrozenTrial

    @property
    def state(self) -> State:
        """How far it came; cut off is what ended without a reason of its own, as by kill -9."""
        if self.entry.state == TrialState.FAIL:
            return "failed" if ERROR in self.entry.user_attrs else "cut off"
        return _STATES[self.entry.state]


def read_ledger(entries: Sequence[FrozenTrial]) -> tuple[Attempt, ...]:
    """The trials by their number, each with its last attempt.

    Entries that say of no trial to be its next attempt are trials of their own, numbered in optuna's order. Of two
    that say so of the same one, the first is it. Optuna gives its numbers to one process at a time, and what an entry
    says it says from the start: so all processes read the same ledger, and none needs to ask another which
    combination is whose.
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
    """The attempt that an entry of the study is; None if it is one too many."""
    return next((attempt for attempt in ledger if attempt.entry.number == entry_number), None)
