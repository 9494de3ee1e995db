"""Keeps the files of a running server, because programs remove old files from temporary directories."""

import os
import shutil
from pathlib import Path


class KeptFiles:
    """The files, folders and links below some directories, as they were when this object was created.

    An open file keeps its content after its name is gone, so `restore` can write it again.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories: list[Path] = []  # each after its parent
        self._files: dict[Path, int] = {}  # file descriptors
        self._links: dict[Path, Path] = {}
        for directory in directories:
            self._directories.append(directory)
            for path in sorted(directory.rglob("*")):
                if path.is_symlink():
                    self._links[path] = path.readlink()
                elif path.is_dir():
                    self._directories.append(path)
                elif path.is_file():  # not a socket
                    self._files[path] = os.open(path, os.O_RDONLY)

    def restore(self) -> list[Path]:
        """Write again what is missing, and return the paths.

        Raises:
            OSError: something cannot be written.
        """
        for directory in self._directories:
            directory.mkdir(parents=True, exist_ok=True)
        restored = []
        for path, descriptor in self._files.items():
            if not path.exists():
                new = path.with_name(f".{path.name}.new")
                shutil.copyfile(f"/proc/self/fd/{descriptor}", new)
                new.replace(path)
                restored.append(path)
        for path, target in self._links.items():
            if not path.is_symlink():
                path.symlink_to(target)
                restored.append(path)
        return restored

    def close(self) -> None:
        """Close the files; nothing can be restored any more."""
        while self._files:
            os.close(self._files.popitem()[1])
