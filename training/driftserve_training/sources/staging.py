"""Temporary folders, with which an output folder is written completely or not at all.

If the output is a mount point, a stop during `publish` can leave a part of it.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from driftserve.errors import DataError
from driftserve.host.lock import try_lock
from driftserve.text import is_utf8

# rename fails with these errors if the output is a mount point, as it may be in a container.
_NOT_RENAMED_TO = (errno.EBUSY, errno.EXDEV)


@dataclass(frozen=True)
class Staging:
    """Two temporary folders: `publish` turns `whole` into the output; `scratch` is always deleted."""

    output: Path
    whole: Path
    scratch: Path

    def publish(self) -> None:
        """Rename `whole` to the output; if the output is a mount point, move the contents one by one."""
        try:
            self.whole.rename(self.output)
        except OSError as error:
            if error.errno not in _NOT_RENAMED_TO:
                raise
            for path in sorted(self.whole.iterdir(), key=Path.is_file):  # files last: the manifest marks completeness
                shutil.move(path, self.output / path.name)


@contextmanager
def staged(output: Path) -> Iterator[Staging]:
    """Context manager for empty temporary folders next to the output. What was not published is deleted at the end.

    Files of a killed run are deleted by the next run with the same output.

    Raises:
        DataError: the folders cannot be written, or hold other files, or another process is writing the same output.
    """
    output = output.resolve()  # a folder cannot be renamed to a symbolic link
    folder = output.parent / f".{output.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _empty(folder)
            staging = Staging(output, folder / "whole", folder / "scratch")
            staging.whole.mkdir()
            staging.scratch.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(folder)
    except OSError as error:
        raise DataError(f"{output}: cannot read or write files: {error}; check permissions and free space") from error


def check_new_or_empty(output: Path) -> None:
    """Check that an output folder is new or empty.

    Raises:
        DataError: the output is a file, or a folder that is not empty.
    """
    if output.is_dir():
        if any(output.iterdir()):
            raise DataError(f"{output}: expected a new or empty folder, but it has files; choose another, or empty it")
    elif output.exists() or output.is_symlink():
        raise DataError(f"{output}: expected a new or empty folder, got a file; choose another")


def place(source: Path, target: Path) -> None:
    """Create `target` as a hard link to `source`, or as a copy if linking fails. Create missing parent folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()  # a hard link to a symbolic link would break when the image moves
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def to_relative_path(name: str, origin: str) -> PurePosixPath:
    """Return an untrusted file name as a relative path that stays below its folder.

    >>> to_relative_path("seg_train/sea/1.jpg", "scenes.zip")
    PurePosixPath('seg_train/sea/1.jpg')

    Raises:
        DataError: the name is not UTF-8, or points outside the folder.
    """
    path = PurePosixPath(name)
    if not is_utf8(name):
        raise DataError(f"{origin}: expected file names in UTF-8, got {name}; rename it")
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"{origin}: expected file names below its folder, got {name!r}, which is outside; rename it")
    return path


def _empty(folder: Path) -> None:
    """Delete the two temporary folders of a killed run.

    Raises:
        DataError: there is anything else in the folder.
    """
    left = sorted(folder.iterdir())
    if others := [path.name for path in left if path.name not in ("whole", "scratch")]:
        raise DataError(
            f"{folder}: expected only the temporary folders of an earlier run, because they are deleted, got "
            f"{others[0]}; move it, or give another output"
        )
    for path in left:
        shutil.rmtree(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        is_free = try_lock(descriptor)
        # Another process may have removed the folder between open and lock: then the lock protects nothing.
        if not (is_free and folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())):
            raise DataError(f"{folder}: another process is writing this folder; wait until it ends")
        yield
    finally:
        os.close(descriptor)
