"""The pipeline without AWS and Docker: `python -m driftserve_pipeline.local.processes`, which `make pipeline-dry` runs.

Runs the definition that `driftserve-pipeline render` gives. Exit status: 0 it has succeeded, 1 it failed, for the
reason on stderr, 2 what was given cannot be used.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.text import printable
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes.dry_run import DryRun, dry_run
from driftserve_pipeline.local.processes.plan import read_plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one execution; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.again and options.endpoint_url:
        parser.error("expected --again without --endpoint-url: a registry that stays has the version already")
    try:
        last = {text.partition("=")[0]: text for text in options.param}  # make gives its own before the user's
        uploads = tuple(map(_upload, options.upload))
        plan = read_plan(options.definition.read_bytes(), last.values(), [file for file, _ in uploads])
        python = options.training_python.absolute()  # a symlink, in an environment
        run = DryRun(plan, options.work.resolve(), python, options.endpoint_url, uploads, options.again)
        print(f"execution {plan.execution_id} in {options.work}", flush=True)
        result = dry_run(run, _say, lambda: _say("another run has the folder; waiting for its end\n"))
    except (DriftserveError, OSError) as error:
        print(f"driftserve_pipeline: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("driftserve_pipeline: interrupted; the same command goes on from here", file=sys.stderr)
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


def _upload(text: str) -> tuple[Path, str]:
    """A file and its address.

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
        description="The pipeline without AWS and Docker: its steps as processes, S3 and registry by moto.",
        allow_abbrev=False,
    )
    parser.add_argument("--definition", type=Path, required=True, help="what `driftserve-pipeline render` gives")
    parser.add_argument("--work", type=Path, default=Path("build/pipeline-dry"), help="default: %(default)s")
    parser.add_argument(
        "--training-python",
        type=Path,
        default=Path(sys.executable),
        help="stands for the training image's Python (default: this one)",
    )
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="of the pipeline; repeat")
    parser.add_argument("--upload", action="append", default=[], metavar="FILE=S3URI", help="before the run; repeat")
    parser.add_argument("--again", action="store_true", help="from the first step, as after a change of the code")
    parser.add_argument("--endpoint-url", help="of S3 and SageMaker (default: a moto server of this run's own)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: end what was started
    sys.exit(main())
