"""Where a study is kept: a journal in the search's folder, or a database that several machines reach."""

import random
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from driftserve.errors import DataError
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import check_same_search

JOURNAL_FILE = "study.journal"
HEARTBEAT_SECONDS = 30
_MISSED_HEARTBEATS = 4  # after which a trial's process is taken to be dead
_MOST_OPENINGS, _MOST_LOOKS = 5, 10
_IDENTITY = "search"  # attribute of the study: what it was begun as


def open_journal(folder: Path, locks: Locks) -> BaseStorage:
    """The storage of a search in one folder.

    Raises:
        DataError: its journal cannot be read.
    """
    path = folder / JOURNAL_FILE
    try:
        return JournalStorage(JournalFileBackend(str(path.resolve()), lock_obj=locks.journal()))
    except (OSError, ValueError) as error:  # JSON that breaks off is a ValueError
        raise DataError(f"{path}: expected a study's journal, got {error}; search in another folder") from error


def open_database(url: str, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> BaseStorage:
    """The storage of a search by an URL as SQLAlchemy has them, `postgresql+psycopg://...`.

    A trial whose process has not been heard of for four heartbeats counts as cut off.

    Raises:
        DataError: there is no such database, it cannot be reached, or its driver is not installed.
    """
    with storage_errors(url):
        for opening in range(1, _MOST_OPENINGS):
            try:
                return _open(url, heartbeat_seconds)
            except (IntegrityError, ProgrammingError):  # another process makes the tables at this moment
                time.sleep(random.uniform(0.1, 0.5) * opening)
        return _open(url, heartbeat_seconds)


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Make one line of what a storage has to say; a password is not shown.

    Raises:
        DataError: what was done inside failed for the storage's sake.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, OptunaError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise DataError(
            f"--storage {_mask_password(url)}: expected a database that can be used, got {reason}; correct the URL, "
            "or leave it out for a journal in the folder"
        ) from error


def open_study(
    storage: BaseStorage, name: str, pruner: optuna.pruners.BasePruner, identity: Mapping[str, object]
) -> optuna.Study:
    """The study of that name, begun if there is none.

    Raises:
        DataError: it was begun as another search.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the search says itself how it goes
    try:  # of several that begin at once, one succeeds: what it is begun as is for that one to say
        study = optuna.create_study(storage=storage, study_name=name, pruner=pruner, direction="maximize")
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, pruner=pruner)
        for _ in range(_MOST_LOOKS):
            if _IDENTITY in study.user_attrs:
                break
            time.sleep(0.5)
    if _IDENTITY not in study.user_attrs:  # begun now, or by one that was killed at once
        study.set_user_attr(_IDENTITY, dict(identity))
    check_same_search(study.user_attrs[_IDENTITY], identity, name)
    return study


def _open(url: str, heartbeat_seconds: int) -> BaseStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True},  # a trial may outlast a connection
                heartbeat_interval=heartbeat_seconds,
                grace_period=heartbeat_seconds * _MISSED_HEARTBEATS,
            )
        except ImportError as error:
            raise DataError(
                f"--storage {_mask_password(url)}: expected a database whose driver is installed, got {error}; "
                "install it, or take postgresql+psycopg"
            ) from error


def _mask_password(url: str | None) -> str:
    if url is None:
        return "(none)"
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"
