"""The structure of every `driftserve-pipeline` command."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The text that a command prints, complete lines or nothing, and its exit status."""

    text: str
    status: int = 0


@dataclass(frozen=True)
class Command:
    """A command: a line of help, its flags, the function that runs it, and more text for its `--help`.

    `run` returns the text to print, complete lines or nothing. It imports slow modules itself, to keep `--help` fast.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str | Outcome]
    details: str = ""
