"""Run one execution in local mode. The module `run` starts this program, in the environment that has the SDK."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve_pipeline.definition.blueprint import make_blueprint
from driftserve_pipeline.definition.pipeline import assemble
from driftserve_pipeline.definition.registration import register_from_container
from driftserve_pipeline.definition.tuning import tune_in_container
from driftserve_pipeline.execution.parameter import Parameter, declared_parameters, resolve
from driftserve_pipeline.local.containers.log import ContainerLog
from driftserve_pipeline.sdk.local_mode import LOCAL, open_local_session, run_locally
from driftserve_pipeline.settings import read_settings

# Variables that a container needs to reach S3 and the registry. Local mode itself passes the AWS keys.
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "NO_PROXY")
_KINDS = {"Integer": int, "Float": float}  # types of parameters for local mode; all others are text


def main() -> int:
    """Run the pipeline of the environment's settings in local mode, and return the exit status."""
    parser = Parser(
        prog="python -m driftserve_pipeline.local.containers.execution", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, required=True, help="folder for the containers' folders")
    parser.add_argument("--label", required=True, help="label of the containers")
    parser.add_argument("--log", type=Path, required=True, help="file for the output of the containers and the SDK")
    parser.add_argument("--result", type=Path, required=True, help="file for the result, as JSON")
    parser.add_argument("--parameters", type=json.loads, required=True, help="parameters, as a JSON object of strings")
    options = parser.parse_args()
    terminal = sys.stdout
    with options.log.open("w") as file:
        log = ContainerLog(file)
        with redirect_stdout(log), redirect_stderr(log):
            try:
                ended = _run(options, log, terminal)
            except (DriftserveError, OSError) as error:
                ended = {"refused": str(error)}
            except KeyboardInterrupt:
                return 130
    options.result.write_text(json.dumps(ended))
    return 0


def typed(declared: Iterable[Parameter], values: Mapping[str, str]) -> dict[str, str | int | float]:
    """Return the value of every parameter in its declared type, which local mode requires.

    >>> typed([Parameter("Epochs", "Integer", "4"), Parameter("CodeRevision", "String", "none")], {"CodeRevision": "1"})
    {'Epochs': 4, 'CodeRevision': '1'}

    Raises:
        PipelineError: a name is unknown, or a value cannot have its type.
    """
    known = tuple(declared)
    resolved = resolve(known, (f"{name}={value}" for name, value in values.items()))
    return {parameter.name: _KINDS.get(parameter.kind, str)(resolved[parameter.name]) for parameter in known}


def _run(options: argparse.Namespace, log: ContainerLog, terminal: TextIO) -> dict[str, Any]:
    settings = read_settings(os.environ).model_copy(update={"processing_instance_type": LOCAL, "spot": False})
    session = open_local_session(settings, options.folder, options.label)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    pipeline = assemble(make_blueprint(settings, session, environment), tune_in_container, register_from_container)
    parameters = typed(declared_parameters(pipeline.definition()), {"InstanceType": LOCAL, **options.parameters})

    @contextmanager
    def watch(step: str) -> Iterator[None]:
        """Print one line for the step: its name at the start, its duration and result at the end."""
        log.begin(step)
        print(f"{step:<12} ", end="", file=terminal, flush=True)
        began, remark = time.monotonic(), "  failed"
        try:
            yield
            remark = ""
        finally:
            print(f"{time.monotonic() - began:7.1f} s{remark}", file=terminal, flush=True)

    execution = run_locally(session, pipeline, parameters, watch)
    reason = execution.reason
    if execution.failed_step and log.reason:
        reason = f"{execution.failed_step}: {log.reason}"
    return {"execution": execution.execution_id, "reason": reason}


if __name__ == "__main__":
    sys.exit(main())
