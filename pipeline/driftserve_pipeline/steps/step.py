"""The structure of every step program, and the folders of its job."""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NOT_GIVEN = ("", "none")  # values for "not given": a pipeline passes every parameter


@dataclass(frozen=True)
class Folders:
    """The folders of a processing job, below a base folder that stands for /opt/ml."""

    base: Path

    def input(self, channel: str) -> Path:
        """Return the folder of an input."""
        return self.base / "processing" / "input" / channel

    def fresh_output(self, name: str) -> Path:
        """Return the folder of an output, after deleting the files of earlier attempts."""
        folder = self.base / "processing" / "output" / name
        folder.mkdir(parents=True, exist_ok=True)  # it may be a mount, which must stay
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return folder

    @property
    def message(self) -> Path:
        """File from which SageMaker reads why a job failed. SageMaker shows 1,024 characters."""
        return self.base / "output" / "message"


@dataclass(frozen=True)
class Step:
    """A step program: a line of help, its arguments, and its function `run`, which returns a line for the log."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Folders], str]


def value_or_none(text: str) -> str | None:
    """Return an argument, or None if it means that nothing was given.

    >>> value_or_none("s3://scenes/test"), value_or_none("none"), value_or_none("")
    ('s3://scenes/test', None, None)
    """
    return None if text in _NOT_GIVEN else text
