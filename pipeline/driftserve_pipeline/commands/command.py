"""The shape that every command of `driftserve-pipeline` has."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The text that a command prints, whole lines or nothing, and its exit status where that is not 0."""

    text: str
    status: int = 0


@dataclass(frozen=True)
class Command:
    """A command: a line of help, its flags, and what it does.

    `run` gives the text that is printed, whole lines or nothing. It imports what is heavy itself, so that `--help` is
    there at once.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str | Outcome]
