"""Locks between processes that search in the same folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

from driftserve.errors import DataError

_TURN, _JOURNAL, _FIRST_TRIAL = 0, 1, 2  # positions in the file of the bytes that are locked


class Locks:
    """Locks on the bytes of one file: one for each trial, one to take turns, one for the journal.

    The kernel releases the locks of a process when the process ends, even if it is killed. This works between
    containers that share the folder. A file with a process id would not: the process may be gone, and another one may
    have its id. These are POSIX locks. They exclude only other processes. If any code of this process opens and closes
    the file, all locks of the process are released.

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
                f"{path}: cannot write and lock the file: {error.strerror}; "
                "choose another --output, on a file system with locks"
            ) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock under which one process at a time looks for its next trial."""
        self._wait(_TURN)
        try:
            yield
        finally:
            self._give_back(_TURN)

    def take_trial(self, number: int) -> bool:
        """Lock a trial for this process; return False if another process has it and is alive."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_TRIAL + number)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def give_trial_back(self, number: int) -> None:
        """Release the lock of a trial."""
        self._give_back(_FIRST_TRIAL + number)

    def journal(self) -> JournalFileOpenLock:
        """Return the lock under which optuna writes its journal.

        Optuna's own locks are files, and a killed process leaves them behind. The next process then waits for half a
        minute, or for ever if the lock is a link whose relative target does not exist.
        """
        return _JournalLock(self)

    def _wait(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)

    def _give_back(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)


class _JournalLock(JournalFileOpenLock):  # a subclass only for the type, which the journal requires
    def __init__(self, locks: Locks) -> None:
        self._locks = locks

    def acquire(self) -> bool:
        self._locks._wait(_JOURNAL)
        return True

    def release(self) -> None:
        self._locks._give_back(_JOURNAL)
