"""Directories and files that only this user can change."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from driftserve.errors import SettingsError


def check_private(directory: Path, remedy: str) -> None:
    """Check that no other user can put a file, a socket or a link into a directory.

    Args:
        directory: an existing directory.
        remedy: the end of the error message.

    Raises:
        SettingsError: it is not a directory of this user, or others can write to it.
    """
    found = directory.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise SettingsError(
            f"{directory}: expected a directory of this user that no other user can write to, got "
            f"{stat.filemode(found.st_mode)} of user {found.st_uid}; {remedy}"
        )


def read_regular(path: Path, most_bytes: int) -> tuple[bytes, float]:
    """Return the content of a regular file, and when it was last changed, in seconds since the epoch.

    Raises:
        FileNotFoundError: there is no file.
        OSError: it is no regular file, it is longer than `most_bytes`, or it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would wait for a writer
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path}: expected a regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(f"{path}: expected a file of at most {most_bytes} bytes")
    return content, found.st_mtime


def open_private(path: Path, flags: int) -> BinaryIO:
    """Open a regular file without a buffer; create it for this user only. Neither follow a link nor wait for a pipe.

    Args:
        path: the file.
        flags: `os.O_RDWR`, `os.O_APPEND` and others; `os.O_CREAT` is added.

    Raises:
        OSError: it cannot be opened, or it is a link or no regular file.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: expected a regular file")
    return os.fdopen(descriptor, "ab" if flags & os.O_APPEND else "r+b", buffering=0)
