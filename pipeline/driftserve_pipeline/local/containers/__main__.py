"""Run the pipeline in containers without AWS: `python -m driftserve_pipeline.local.containers`, `make pipeline-local`.

Exit status: 0 if a model was registered, 1 if the execution failed, 2 if the input is invalid. stderr gives the reason.
The settings are the same as for an account: `DRIFTSERVE_PIPELINE_*`.
"""

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
from driftserve_pipeline.local.containers.docker import Engine
from driftserve_pipeline.local.containers.run import ContainerRun, container_run
from driftserve_pipeline.local.options import add_local_arguments, local_parameters, local_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one execution and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        keep_to_temporary_directory()
        claim(options.work, "give another --work", earlier=("lock", "containers"))
        images = {f"{kind}_image": f"{options.image_repository}:{kind}" for kind in ("training", "serving")}
        settings = local_settings(options, os.environ, images)
        run = ContainerRun(
            settings=settings,
            parameters=local_parameters(options, settings),
            work=options.work.resolve(),
            engine=Engine(options.docker),
            python=options.pipeline_python.absolute(),  # not resolved: in an environment it is a symlink
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
        description="Run the pipeline in containers with SageMaker's local mode. moto replaces S3 and the registry.",
        allow_abbrev=False,
    )
    add_local_arguments(parser, Path("build/pipeline-local"), images_required=True)
    parser.add_argument(
        "--images-per-class",
        type=int,
        default=60,
        help="number of images to use per class and split (default: %(default)s)",
    )
    parser.add_argument("--docker", default="docker", help="Docker's command (default: %(default)s)")
    parser.add_argument(
        "--image-repository",
        default="driftserve",
        metavar="NAME",
        help="use the Docker images NAME:training and NAME:serving, unless settings name others (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like Ctrl-C: end the child processes
    sys.exit(main())
