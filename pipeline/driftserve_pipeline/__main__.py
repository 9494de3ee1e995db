"""The command line: `driftserve-pipeline COMMAND`.

Exit status: 0 done, 2 what was given cannot be used or AWS refuses; one line on stderr says why. Besides, 1 where
`diff` finds a difference, or the execution that `status --wait` waits for has not succeeded.
"""

import os
import sys
from collections.abc import Sequence

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
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
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        done = COMMANDS[options.command].run(options)
        outcome = done if isinstance(done, Outcome) else Outcome(done)
        _write(outcome.text)
    except (DriftserveError, OSError) as error:
        print(f"driftserve-pipeline: {printable(error)}", file=sys.stderr)
        return 2
    return outcome.status


def _write(text: str) -> None:
    """Print the text; a reader that goes, as `head` does, has had enough."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's end fails on the rest once more
        if not isinstance(error, BrokenPipeError):
            raise


def _parser() -> Parser:
    parser = Parser(
        prog="driftserve-pipeline",
        description="The SageMaker pipeline, from images to a registered model.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = f"{command.help[0].upper()}{command.help[1:]}."
        command.add_arguments(commands.add_parser(name, help=command.help, description=description, allow_abbrev=False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
