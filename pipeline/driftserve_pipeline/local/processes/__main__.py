"""Run the pipeline without AWS and Docker: `python -m driftserve_pipeline.local.processes`, or `make pipeline-dry`.

It runs a definition that `driftserve-pipeline render` writes. With `--images`, it renders one now, for a short run on
these images with the settings `DRIFTSERVE_PIPELINE_*`. With `--definition`, it reads one from a file.

Exit status: 0 on success, 1 if the execution failed, 2 if the input is invalid. stderr gives the reason.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.host.claim import claim
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.options import (
    add_local_arguments,
    local_parameters,
    local_settings,
    parse_parameters,
    with_record,
)
from driftserve_pipeline.local.processes.dry_run import DryRun, dry_run
from driftserve_pipeline.local.processes.plan import read_plan
from driftserve_pipeline.local.processes.rendering import rendered_definition

_WEIGHTS = "s3://driftserve-dry/weights"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one execution and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(options, parser)
    try:
        keep_to_temporary_directory()
        claim(options.work, "give another --work", earlier=("lock", "executions"))
        uploads = (*_weights_uploads(options.weights), *map(_upload, options.upload))
        definition, parameters = _definition(options)
        assignments = [f"{name}={value}" for name, value in parameters.items()]
        plan = read_plan(definition, assignments, [file for file, _ in uploads])
        python = options.training_python.absolute()  # not resolved: in an environment it is a symlink
        run = DryRun(plan, options.work.resolve(), python, options.endpoint_url, uploads, options.again)
        print(f"execution {plan.execution_id} in {options.work}", flush=True)
        result = dry_run(run, _say, lambda: _say("another run uses the folder; waiting for its end\n"))
    except (DriftserveError, OSError) as error:
        print(f"driftserve_pipeline: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("driftserve_pipeline: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    if result.reason is not None:
        print(f"driftserve_pipeline: failed: {printable(result.reason)}", file=sys.stderr)
        return 1
    if result.package is None:
        print("succeeded; there was nothing to register")
        return 0
    print(f"registered {result.package}\nserve it: make serve ARCHIVE={options.work}/model")
    return 0


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _check(options: argparse.Namespace, parser: Parser) -> None:
    """End with a usage error if flags exclude each other, or a required one is missing."""
    if options.again and options.endpoint_url:
        parser.error("expected --again without --endpoint-url, because a lasting registry already has the version")
    if options.definition is None and (options.images is None or options.pipeline_python is None):
        parser.error("expected --definition, or --images and --pipeline-python to render one")
    if options.definition is not None and (
        options.images or options.weights or options.drawn or options.pipeline_python
    ):
        parser.error("expected --definition alone, or --images, --drawn, --weights and --pipeline-python to render one")


def _definition(options: argparse.Namespace) -> tuple[bytes, dict[str, str]]:
    """Return the definition as JSON, and the parameters of the run."""
    if options.definition is not None:
        return options.definition.read_bytes(), parse_parameters(options.param)
    weights = {"weights": _weights_place(options.weights)} if options.weights else {}
    settings = local_settings(options, os.environ, {}).model_copy(update=weights)
    parameters = {"TrainLocation": str(options.images.absolute()), **local_parameters(options, settings)}
    return rendered_definition(options.pipeline_python.absolute(), settings, options.work), parameters


def _weights_uploads(weights: Path | None) -> list[tuple[Path, str]]:
    """Return the weights and the record beside them, with their addresses in the run's S3."""
    if weights is None:
        return []
    return [(file, f"{_weights_place(weights)}/{file.name}") for file in with_record(weights)]


def _weights_place(weights: Path) -> str:
    """Return the folder of a weights file in the run's S3, as the setting `weights` needs it."""
    if any(map(str.isspace, weights.name)):
        raise PipelineError(f"--weights: expected a file whose name has no blanks, got {weights.name!r}; rename it")
    return f"{_WEIGHTS}/{weights.name}"


def _upload(text: str) -> tuple[Path, str]:
    """Parse a file and its address.

    >>> file, uri = _upload("a=b.json=s3://bucket/b.json")
    >>> file.name, uri
    ('a=b.json', 's3://bucket/b.json')
    """
    file, sign, key = text.rpartition("=s3://")
    if not sign:
        raise PipelineError(f"--upload: expected FILE=S3URI, got {text!r}")
    return Path(file), f"s3://{key}"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m driftserve_pipeline.local.processes",
        description="Run the pipeline without AWS and Docker. Steps are processes; moto replaces S3 and the registry.",
        allow_abbrev=False,
    )
    add_local_arguments(parser, Path("build/pipeline-dry"), images_required=False)
    parser.add_argument(
        "--definition",
        type=Path,
        help="output of `driftserve-pipeline render` (default: render now, with --pipeline-python, for --images)",
    )
    parser.add_argument(
        "--training-python",
        type=Path,
        default=Path(sys.executable),
        help="Python to use in place of the training image's (default: this one)",
    )
    parser.add_argument(
        "--upload",
        action="append",
        default=[],
        metavar="FILE=S3URI",
        help="upload FILE to S3 before the run; can be repeated",
    )
    parser.add_argument(
        "--again", action="store_true", help="start from the first step, for example after a code change"
    )
    parser.add_argument("--endpoint-url", help="URL of S3 and SageMaker (default: a moto server for this run)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like Ctrl-C: end the child processes
    sys.exit(main())
