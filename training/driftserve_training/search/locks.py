"""Locks between the processes that search in one folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

from driftserve.errors import DataError

_TURN, _JOURNAL, _FIRST_TRIAL = 0, 1, 2  # bytes of the file


class Locks:
    """Locks on the bytes of one file: one a trial, one to take turns, one for the journal.

    The kernel gives them back when their process ends, killed or not, and tells so in every container that has the
    folder. A file that says who holds it could not: its process may be gone, and the number be another's by now.
    POSIX's: they keep out other processes only, and closing the file anywhere in this one would give all back.

    Raises:
        DataError: the file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            with self.turn():
                pass
        except OSError as error:
            raise DataError(
                f"{path}: expected a folder to write to, of a file system that has locks, got {error.strerror}; "
                "choose another --output"
            ) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be alone in looking for what is to be done next."""
        self._wait(_TURN)
        try:
            yield
        finally:
            self._give_back(_TURN)

    def take_trial(self, number: int) -> bool:
        """Whether the trial is this process's now; not so if it is that of another, which lives."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_TRIAL + number)
        except (BlockingIOError, PermissionError):  # which of the two, POSIX leaves open
            return False
        return True

    def give_trial_back(self, number: int) -> None:
        """Let others have the trial."""
        self._give_back(_FIRST_TRIAL + number)

    def journal(self) -> JournalFileOpenLock:
        """The lock under which optuna writes its journal.

        Optuna's own are files, which a killed process leaves: the next one waits for half a minute, and, for want of
        what a relative link points to, for ever.
        """
        return _JournalLock(self)

    def _wait(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)

    def _give_back(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)


class _JournalLock(JournalFileOpenLock):  # for its type: a journal's file takes nothing else
    def __init__(self, locks: Locks) -> None:
        self._locks = locks

    def acquire(self) -> bool:
        self._locks._wait(_JOURNAL)
        return True

    def release(self) -> None:
        self._locks._give_back(_JOURNAL)
