"""The step programs: `python -m driftserve_pipeline.steps fetch | preprocess | tune | evaluate | register`.

    SAGEMAKER_BASE_DIR=$PWD/ml python -m driftserve_pipeline.steps fetch --source s3://scenes/2026

Reads `processing/input/<channel>` and writes `processing/output/<name>` under /opt/ml. Exit status: 0 on success, 1 on
failure, 143 after SIGTERM. If not 0, `output/message` gives the reason in one line, and SageMaker shows it.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from driftserve.command_line import Parser, describe
from driftserve.errors import DriftserveError
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.evaluate import EVALUATE
from driftserve_pipeline.steps.fetch import FETCH
from driftserve_pipeline.steps.preprocess import PREPROCESS
from driftserve_pipeline.steps.register import REGISTER
from driftserve_pipeline.steps.step import Folders
from driftserve_pipeline.steps.tune import TUNE

STEPS = {"fetch": FETCH, "preprocess": PREPROCESS, "tune": TUNE, "evaluate": EVALUATE, "register": REGISTER}
_BASE_VARIABLE = "SAGEMAKER_BASE_DIR"  # a folder in place of /opt/ml; the training job reads it too
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Raised on SIGTERM and Ctrl-C, with the signal. It is not an Exception, so error handlers ignore it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step and return the exit status."""
    folders = Folders(Path(os.environ.get(_BASE_VARIABLE, "/opt/ml")))
    for number in _STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        folders.message.unlink(missing_ok=True)
        keep_to_temporary_directory()
        options = _parser().parse_args(arguments)
        print(STEPS[options.step].run(options, folders), flush=True)
    except Stopped as stopped:
        _report(folders, f"ended by {stopped.number.name}: the job was stopped")
        return 128 + stopped.number
    except (DriftserveError, OSError) as error:
        _report(folders, printable(error))
        return 1
    except Exception as error:  # SageMaker needs a reason for every failure
        traceback.print_exc()
        _report(folders, printable(f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _stop(number: int, _frame: object) -> NoReturn:
    for ignored in _STOP_SIGNALS:  # a second signal must not interrupt the cleanup
        signal.signal(ignored, signal.SIG_IGN)
    raise Stopped(signal.Signals(number))


def _report(folders: Folders, reason: str) -> None:
    """Write the reason to the log and to the file that SageMaker reads."""
    print(f"driftserve_pipeline.steps: {reason}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the exit status reports the failure too
        folders.message.parent.mkdir(parents=True, exist_ok=True)
        folders.message.write_text(f"{reason}\n")


class _StepParser(Parser):
    def error(self, message: str) -> NoReturn:
        """Raise wrong arguments as a PipelineError, like any other failure of the step."""
        raise PipelineError(self.advise(message))


def _parser() -> Parser:
    parser = _StepParser(
        prog="python -m driftserve_pipeline.steps",
        description="Run a step of the pipeline in a processing job.",
        allow_abbrev=False,
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, step in STEPS.items():
        step.add_arguments(steps.add_parser(name, help=step.help, description=describe(step.help), allow_abbrev=False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
