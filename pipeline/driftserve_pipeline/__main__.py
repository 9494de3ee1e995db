"""The command line: `driftserve-pipeline COMMAND`.

Exit status: 0 on success, 2 if the input is invalid or AWS refuses the request, 130 after Ctrl-C. One line on stderr
gives the reason. `diff` exits with 1 if it finds a difference, and `status --wait` if the execution did not succeed.
"""

import os
import sys
from collections.abc import Sequence

from driftserve.command_line import Parser, describe
from driftserve.errors import DriftserveError
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_pipeline.commands.command import Command, Outcome
from driftserve_pipeline.commands.compare import COMPARE
from driftserve_pipeline.commands.decision import APPROVE, REJECT
from driftserve_pipeline.commands.definition import DIFF, RENDER, UPSERT
from driftserve_pipeline.commands.logs import LOGS
from driftserve_pipeline.commands.rollback import ROLLBACK
from driftserve_pipeline.commands.start import START
from driftserve_pipeline.commands.status import STATUS
from driftserve_pipeline.commands.versions import VERSIONS

COMMANDS: dict[str, Command] = {
    "render": RENDER,
    "diff": DIFF,
    "upsert": UPSERT,
    "start": START,
    "status": STATUS,
    "logs": LOGS,
    "versions": VERSIONS,
    "compare": COMPARE,
    "approve": APPROVE,
    "reject": REJECT,
    "rollback": ROLLBACK,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        keep_to_temporary_directory()
        done = COMMANDS[options.command].run(options)
        outcome = done if isinstance(done, Outcome) else Outcome(done)
        _write(outcome.text)
    except (DriftserveError, OSError) as error:
        print(f"driftserve-pipeline: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("driftserve-pipeline: interrupted", file=sys.stderr)
        return 130
    return outcome.status


def _write(text: str) -> None:
    """Print the text. If the reader closes the pipe, as `head` does, ignore it."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails again
        if not isinstance(error, BrokenPipeError):
            raise


def _parser() -> Parser:
    parser = Parser(
        prog="driftserve-pipeline",
        description="Deploy and run the SageMaker pipeline, and manage the model versions that it registers.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = describe(command.help, command.details)
        command.add_arguments(commands.add_parser(name, help=command.help, description=description, allow_abbrev=False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
