"""The shape that every step program has, and the folders that it is given."""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NOT_GIVEN = ("", "none")  # a parameter of a pipeline cannot be left out


@dataclass(frozen=True)
class Folders:
    """The folders of a processing job, below one that stands for /opt/ml."""

    base: Path

    def input(self, channel: str) -> Path:
        """Where an input lies."""
        return self.base / "processing" / "input" / channel

    def fresh_output(self, name: str) -> Path:
        """Where an output goes, without what an earlier try has left there."""
        folder = self.base / "processing" / "output" / name
        folder.mkdir(parents=True, exist_ok=True)  # it may be a mount, which stays
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return folder

    @property
    def message(self) -> Path:
        """Where SageMaker reads why a job failed, of which it shows 1,024 characters."""
        return self.base / "output" / "message"


@dataclass(frozen=True)
class Step:
    """A step program: a line of help, its arguments, and what it does; `run` gives a line for the log."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Folders], str]


def value_or_none(text: str) -> str | None:
    """What an argument says, None where it says that nothing was given.

    >>> value_or_none("s3://scenes/test"), value_or_none("none"), value_or_none("")
    ('s3://scenes/test', None, None)
    """
    return None if text in _NOT_GIVEN else text
