"""The command line: `python -m driftserve_training COMMAND`, from images to an archive.

    python -m driftserve_training train --data DATA --output build/scenes --weights FILE --image-size 128
    python -m driftserve_training export --trained build/scenes --data DATA --output build/scenes

Exit status: 0 done, 2 what was given cannot be used; one line on stderr says why.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from driftserve.errors import DriftserveError
from driftserve.printable import printable
from driftserve_training.commands.explain import EXPLAIN
from driftserve_training.commands.export import EXPORT
from driftserve_training.commands.train import TRAIN

COMMANDS = {"train": TRAIN, "explain": EXPLAIN, "export": EXPORT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        done = COMMANDS[options.command].run(options)
    except DriftserveError as error:
        print(f"driftserve_training: {printable(error)}", file=sys.stderr)
        return 2
    if done is not None:
        print(json.dumps(done))
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"driftserve_training: {message}; `{self.prog} --help` tells more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m driftserve_training", description="From images to an archive.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help, description=f"{command.help}.".capitalize()))
    return parser


if __name__ == "__main__":
    sys.exit(main())
