"""The parser of command lines that every package uses."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose error is one line, not the whole usage; exit status 2."""

    def error(self, message: str) -> NoReturn:
        """End the process with one line on stderr: the program, what is wrong, where the usage is."""
        program = self.prog.removeprefix("python -m ").split()[0]
        self.exit(2, f"{program}: {self.advise(message)}\n")

    def advise(self, message: str) -> str:
        """The message, with the command that prints the usage."""
        return f"{message}; `{self.prog} --help` tells more"
