"""Marks the directories in which driftserve deletes files, so that it never deletes somebody else's."""

from collections.abc import Collection
from pathlib import Path

from driftserve.errors import DataError

MARK_FILE = ".driftserve"
_MARK = "driftserve made this directory, and deletes files in it. Keep nothing of your own here.\n"


def claim(directory: Path, remedy: str, earlier: Collection[str] = ()) -> None:
    """Create a directory, or take over an empty one, and mark it; do nothing if it has the mark already.

    Args:
        directory: the directory in which the caller will delete or replace files.
        remedy: the end of the error message, which says how to choose another directory.
        earlier: names of files. A directory with all of them was made by a version of driftserve that left no mark.

    Raises:
        DataError: the directory has files, and driftserve did not make it. Nothing was changed.
        OSError: the directory cannot be created, read or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in directory.iterdir()}
    if MARK_FILE in found:
        return
    if found and not (earlier and found.issuperset(earlier)):
        raise DataError(
            f"{directory}: expected an empty directory, or one that driftserve made, because it deletes files there; "
            f"got one with {min(found)}; {remedy}"
        )
    mark(directory)


def mark(directory: Path) -> None:
    """Mark a directory that driftserve made; do nothing if it has the mark."""
    if not (directory / MARK_FILE).exists():
        (directory / MARK_FILE).write_text(_MARK)
