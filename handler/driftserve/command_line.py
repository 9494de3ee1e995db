"""The argument parser of all command lines of driftserve."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from driftserve.text import is_utf8, printable


class Parser(argparse.ArgumentParser):
    """An `argparse` parser that reports an error in one line, without the usage; exit status 2.

    Arguments must be UTF-8, because they become text in JSON, in logs and in the commands of other processes. An
    argument of type `Path` must not be empty, because `Path("")` is the current directory.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, _path)

    def parse_known_args(  # type: ignore[override]  # argparse has several signatures
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Check that all arguments are UTF-8 before parsing them."""
        given = sys.argv[1:] if args is None else args
        for argument in given:
            if not is_utf8(argument):
                self.error(f"expected arguments in UTF-8, got {argument}; rename the file or folder")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with one line on stderr: the program, the error, how to get help."""
        program = self.prog.removeprefix("python -m ").split()[0]
        self.exit(2, f"{program}: {printable(self.advise(message))}\n")

    def advise(self, message: str) -> str:
        """Return the message with the command that prints the usage."""
        return f"{message}; run `{self.prog} --help` for usage"


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError(
            "expected a file or folder, got an empty argument; is a variable of the shell not set?"
        )
    return Path(text)


def describe(help_line: str, details: str = "") -> str:
    """Return the description of a command: its line of help as a sentence, then the details.

    >>> describe("list all files", "Hidden files are ignored.")
    'List all files. Hidden files are ignored.'
    """
    return f"{help_line[0].upper()}{help_line[1:]}. {details}".rstrip()
