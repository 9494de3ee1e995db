"""The pipeline in containers, without AWS: `python -m driftserve_pipeline.local.containers`, or `make pipeline-local`.

Exit status: 0 it has ended with a registered model, 1 it failed, for the reason on stderr, 2 what was given cannot be
used. Settings, as for an account: `DRIFTSERVE_PIPELINE_*`.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.text import printable
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.containers.docker import Engine
from driftserve_pipeline.local.containers.run import ContainerRun, container_run
from driftserve_pipeline.settings import read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one execution; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.work.mkdir(parents=True, exist_ok=True)
        run = ContainerRun(
            settings=read_settings(os.environ),
            parameters=dict(map(_parameter, options.param)),
            work=options.work.resolve(),
            engine=Engine(options.docker),
            python=options.pipeline_python.absolute(),  # a symlink, in an environment
            images=options.images,
            images_per_class=options.images_per_class,
            weights=options.weights,
        )
        result = container_run(run, lambda line: print(line, flush=True))
    except (DriftserveError, OSError) as error:
        print(f"driftserve_pipeline: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("driftserve_pipeline: interrupted", file=sys.stderr)
        return 130
    if result.reason is not None:
        print(f"driftserve_pipeline: failed: {printable(result.reason)}", file=sys.stderr)
        return 1
    print(f"registered {result.package}\nserve it: make run ARCHIVE={options.work}/model")
    return 0


def _parameter(text: str) -> tuple[str, str]:
    """Name and value of a parameter.

    >>> _parameter("CodeRevision=123456789012")
    ('CodeRevision', '123456789012')
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise PipelineError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _parser() -> Parser:
    parser = Parser(
        prog="python -m driftserve_pipeline.local.containers",
        description="The pipeline in containers: SageMaker's local mode, S3 and registry by moto.",
        allow_abbrev=False,
    )
    parser.add_argument("--pipeline-python", type=Path, required=True, help="of the environment with the SageMaker SDK")
    parser.add_argument("--work", type=Path, default=Path("build/pipeline-local"), help="default: %(default)s")
    parser.add_argument("--images", type=Path, required=True, help="folder with train/ and test/, each <class>/<image>")
    parser.add_argument(
        "--images-per-class", type=int, default=60, help="that are taken of each split (default: %(default)s)"
    )
    parser.add_argument("--docker", default="docker", help="its command (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="timm weights, with <file>.json beside them or not")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="of the pipeline; repeat")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: end what was started
    sys.exit(main())
