"""The directory of temporary files, as the user gave it."""

import os
import tempfile
from pathlib import Path

from driftserve.errors import SettingsError

_VARIABLES = ("TMPDIR", "TEMP", "TMP")  # in Python's order


def temporary_directory() -> Path:
    """Return the directory that TMPDIR, TEMP or TMP names, else /tmp.

    `tempfile.gettempdir` silently takes another directory, even the current one, if this one is missing or full.

    Raises:
        SettingsError: the variable names no directory.
    """
    for name in _VARIABLES:
        if given := os.environ.get(name):
            if not Path(given).is_dir():
                raise SettingsError(f"{name}: expected a directory, got {given}; create it, or set {name} to another")
            return Path(given).absolute()
    return Path("/tmp")  # noqa: S108 - the usual place; what is made there is only for this user


def keep_to_temporary_directory() -> None:
    """Make `tempfile` use the directory as given, or fail, in the rest of this process.

    Raises:
        SettingsError: the variable names no directory.
    """
    tempfile.tempdir = str(temporary_directory())
