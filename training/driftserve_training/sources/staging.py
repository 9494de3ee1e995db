"""A folder that is written whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from driftserve.errors import DataError
from driftserve.host.lock import try_lock

# A container's output folder may be a mount of its own, which nothing can be renamed to.
_NOT_RENAMED_TO = (errno.EBUSY, errno.EXDEV)


@dataclass(frozen=True)
class Staging:
    """Where an output is made: `whole` becomes it when published, `scratch` is gone afterwards in any case."""

    output: Path
    whole: Path
    scratch: Path

    def publish(self) -> None:
        """Give `whole` the output's name, in one step where the file system has one."""
        try:
            self.whole.rename(self.output)
        except OSError as error:
            if error.errno not in _NOT_RENAMED_TO:
                raise
            for path in sorted(self.whole.iterdir(), key=Path.is_file):  # the manifest last: it says that all is there
                shutil.move(path, self.output / path.name)


@contextmanager
def staged(output: Path) -> Iterator[Staging]:
    """Empty folders beside the output to make it in. Without `publish` nothing of it is left.

    What a killed run left is cleared by the next into the same output.

    Raises:
        DataError: the folders cannot be written, or another process is writing the same output.
    """
    output = output.resolve()  # nothing is renamed to a symbolic link
    folder = output.parent / f".{output.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            for path in folder.iterdir():
                shutil.rmtree(path)
            staging = Staging(output, folder / "whole", folder / "scratch")
            staging.whole.mkdir()
            staging.scratch.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(folder)
    except OSError as error:
        raise DataError(
            f"{output}: expected files that can be read and written, got {error}; see to permissions and room"
        ) from error


def check_new_or_empty(output: Path) -> None:
    """Let nothing be mixed with what is there already.

    Raises:
        DataError: the output is a file or a folder with something in it.
    """
    if output.is_dir():
        if any(output.iterdir()):
            raise DataError(f"{output}: expected a new or empty folder, got one with files; choose another or empty it")
    elif output.exists() or output.is_symlink():
        raise DataError(f"{output}: expected a new or empty folder, got a file; choose another")


def place(source: Path, target: Path) -> None:
    """Put a file where it belongs: a hard link, or a copy where there can be none. Folders are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()  # else a symbolic link is linked, and leads nowhere once its target moves
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def to_relative_path(name: str, origin: str) -> PurePosixPath:
    """The relative path that somebody else's name for a file is, if it stays below its folder.

    >>> to_relative_path("seg_train/sea/1.jpg", "scenes.zip")
    PurePosixPath('seg_train/sea/1.jpg')

    Raises:
        DataError: it leads elsewhere.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"{origin}: expected names of files below it, got {name!r}, which leads elsewhere; rename it")
    return path


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        is_free = try_lock(descriptor)
        # One that finished since then removed the folder: what is locked now has no name.
        if not (is_free and folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())):
            raise DataError(f"{folder}: expected to write alone, got another process that does; wait until it is done")
        yield
    finally:
        os.close(descriptor)
