"""The shape that every command of `python -m driftserve_training` has."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: a line of help, its flags, and what it does.

    `run` gives what is printed as one line of JSON, or None for nothing. It imports what is heavy itself, so that
    `--help` is there at once.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Mapping[str, object] | None]
