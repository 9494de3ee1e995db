"""Command line of the training: `python -m driftserve_training COMMAND`.

    python -m driftserve_training fetch --output build/fetched
    python -m driftserve_training preprocess --data build/fetched --output build/data
    python -m driftserve_training train --data DATA --output build/scenes --weights FILE --image-size 128
    python -m driftserve_training evaluate --trained build/scenes --data DATA
    python -m driftserve_training explain --trained build/scenes --data DATA
    python -m driftserve_training export --trained build/scenes --data DATA --output build/scenes

Exit status: 0 on success, 2 if an input cannot be used, 130 after Ctrl-C, 143 after SIGTERM; one line on stderr
gives the reason.
"""

import json
import signal
import sys
from collections.abc import Sequence

from driftserve.command_line import Parser, describe
from driftserve.errors import DriftserveError
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_training.commands.evaluate import EVALUATE
from driftserve_training.commands.explain import EXPLAIN
from driftserve_training.commands.export import EXPORT
from driftserve_training.commands.fetch import FETCH
from driftserve_training.commands.preprocess import PREPROCESS
from driftserve_training.commands.report import REPORT
from driftserve_training.commands.train import TRAIN
from driftserve_training.commands.tune import TUNE

COMMANDS = {
    "fetch": FETCH,
    "preprocess": PREPROCESS,
    "train": TRAIN,
    "tune": TUNE,
    "evaluate": EVALUATE,
    "explain": EXPLAIN,
    "export": EXPORT,
    "report": REPORT,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        keep_to_temporary_directory()
        done = COMMANDS[options.command].run(options)
    except DriftserveError as error:
        print(f"driftserve_training: {printable(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"driftserve_training: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("driftserve_training: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            print("\ndriftserve_training: ended by SIGTERM", file=sys.stderr)  # after the progress bar
        raise
    if done is not None:
        print(json.dumps(done))
    return 0


def _parser() -> Parser:
    description = "Train a model and export its archive."
    parser = Parser(prog="python -m driftserve_training", description=description, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = describe(command.help, command.details)
        command.add_arguments(commands.add_parser(name, help=command.help, description=description, allow_abbrev=False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
