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
from driftserve_pipeline.local.containers.docker import Engine
from driftserve_pipeline.local.containers.run import ContainerRun, container_run
from driftserve_pipeline.local.options import add_local_arguments, local_parameters, local_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one execution; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.work.mkdir(parents=True, exist_ok=True)
        images = {f"{kind}_image": f"{options.image_repository}:{kind}" for kind in ("training", "serving")}
        settings = local_settings(options, os.environ, images)
        run = ContainerRun(
            settings=settings,
            parameters=local_parameters(options, settings),
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


def _parser() -> Parser:
    parser = Parser(
        prog="python -m driftserve_pipeline.local.containers",
        description="The pipeline in containers: SageMaker's local mode, S3 and registry by moto.",
        allow_abbrev=False,
    )
    add_local_arguments(parser, Path("build/pipeline-local"), images_required=True)
    parser.add_argument(
        "--images-per-class", type=int, default=60, help="that are taken of each split (default: %(default)s)"
    )
    parser.add_argument("--docker", default="docker", help="its command (default: %(default)s)")
    parser.add_argument(
        "--image-repository",
        default="driftserve",
        metavar="NAME",
        help="of the images NAME:training and NAME:serving, where no setting names them (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: end what was started
    sys.exit(main())
