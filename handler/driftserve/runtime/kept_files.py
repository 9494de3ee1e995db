"""Keeps the files of a running server, because programs remove old files from temporary directories."""

import os
import shutil
from pathlib import Path


class KeptFiles:
    """The files, folders, links and sockets below some directories, as they were when this object was created.

    An open file keeps its content after its name is gone, so `restore` can write it again. A socket stays as it is: its
    name becomes a link to its descriptor in this process. MMS needs that to replace a worker.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories: list[Path] = []  # each after its parent
        self._files: dict[Path, int] = {}  # file descriptors
        self._links: dict[Path, Path] = {}
        self._sockets: list[int] = []
        for directory in directories:
            self._directories.append(directory)
            for path in sorted(directory.rglob("*")):
                if path.is_symlink():
                    self._links[path] = path.readlink()
                elif path.is_dir():
                    self._directories.append(path)
                elif path.is_file():
                    self._files[path] = os.open(path, os.O_RDONLY)
                elif path.is_socket():
                    self._sockets.append(os.open(path, os.O_PATH))
                    self._links[path] = Path(f"/proc/{os.getpid()}/fd/{self._sockets[-1]}")

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
            if not os.path.lexists(path):
                path.symlink_to(target)
                restored.append(path)
        return restored

    def close(self) -> None:
        """Close the files; nothing can be restored any more."""
        while self._files:
            os.close(self._files.popitem()[1])
        while self._sockets:
            os.close(self._sockets.pop())
