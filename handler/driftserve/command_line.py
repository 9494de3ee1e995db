"""The argument parser of all command lines of driftserve."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An `argparse` parser that reports an error in one line, without the usage; exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with one line on stderr: the program, the error, how to get help."""
        program = self.prog.removeprefix("python -m ").split()[0]
        self.exit(2, f"{program}: {self.advise(message)}\n")

    def advise(self, message: str) -> str:
        """Return the message with the command that prints the usage."""
        return f"{message}; run `{self.prog} --help` for usage"


def describe(help_line: str, details: str = "") -> str:
    """Return the description of a command: its line of help as a sentence, then the details.

    >>> describe("list all files", "Hidden files are ignored.")
    'List all files. Hidden files are ignored.'
    """
    return f"{help_line[0].upper()}{help_line[1:]}. {details}".rstrip()
