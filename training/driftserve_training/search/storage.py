"""Storage of a study: a journal in the folder of the search, or a database that several machines can reach."""

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
from driftserve_training.libraries import library_versions, report_changed_versions
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import check_same_search

JOURNAL_FILE = "study.journal"
HEARTBEAT_SECONDS = 30
_MISSED_HEARTBEATS = 4  # number of missed heartbeats after which the process of a trial counts as dead
_MOST_OPENINGS = 5  # attempts to open the database
_MOST_LOOKS = 10  # attempts to read the identity, half a second apart
_IDENTITY = "search"  # attribute of the study: the identity of its search
_LIBRARIES = "libraries"  # attribute of the study: the versions with which it began; they are reported, not compared


def open_journal(folder: Path, locks: Locks) -> BaseStorage:
    """Open the storage of a search in one folder.

    Raises:
        DataError: the journal cannot be read.
    """
    path = folder / JOURNAL_FILE
    try:
        return JournalStorage(JournalFileBackend(str(path.resolve()), lock_obj=locks.journal()))
    except (OSError, ValueError) as error:  # truncated JSON is a ValueError
        raise DataError(
            f"{path}: cannot read the study's journal: {error}; give another --output to start a new search"
        ) from error


def open_database(url: str, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> BaseStorage:
    """Open the storage of a search by a SQLAlchemy URL, `postgresql+psycopg://...`.

    A trial whose process misses four heartbeats counts as cut off.

    Raises:
        DataError: the database does not exist, it cannot be reached, or its driver is not installed.
    """
    with storage_errors(url):
        for opening in range(1, _MOST_OPENINGS):
            try:
                return _open(url, heartbeat_seconds)
            except (IntegrityError, ProgrammingError):  # another process is creating the tables
                time.sleep(random.uniform(0.1, 0.5) * opening)
        return _open(url, heartbeat_seconds)


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Turn an error of the storage into a message of one line without the password.

    Raises:
        DataError: the storage failed inside the `with` block.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, OptunaError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise DataError(
            f"--storage {_mask_password(url)}: cannot use the database: {reason}; correct the URL, "
            "or omit --storage to use a journal in the folder"
        ) from error


def open_study(
    storage: BaseStorage, name: str, pruner: optuna.pruners.BasePruner, identity: Mapping[str, object]
) -> optuna.Study:
    """Open the study with this name, or create it.

    Raises:
        DataError: another search started the study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the search prints its own progress
    try:  # if several processes start at once, only the creator of the study stores the search's identity
        study = optuna.create_study(storage=storage, study_name=name, pruner=pruner, direction="maximize")
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, pruner=pruner)
        for _ in range(_MOST_LOOKS):
            if _IDENTITY in study.user_attrs:
                break
            time.sleep(0.5)
    if _IDENTITY not in study.user_attrs:  # this process is the creator, or the creator was killed first
        study.set_user_attr(_LIBRARIES, library_versions())  # first: the others wait for the identity
        study.set_user_attr(_IDENTITY, dict(identity))
    check_same_search(study.user_attrs[_IDENTITY], identity, name)
    report_changed_versions(name, study.user_attrs.get(_LIBRARIES, {}))
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
                f"--storage {_mask_password(url)}: the driver of the database is not installed: {error}; "
                "install it, or use postgresql+psycopg"
            ) from error


def _mask_password(url: str | None) -> str:
    if url is None:
        return "(none)"
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"
