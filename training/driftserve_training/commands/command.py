"""Common interface of all commands of `python -m driftserve_training`."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: a line of help, a function that adds its flags, a function that runs it, and more text for `--help`.

    `run` returns a mapping that is printed as one line of JSON, or None to print nothing. It imports heavy modules
    itself, so that `--help` is fast.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Mapping[str, object] | None]
    details: str = ""
