"""`render`: the pipeline's definition, as SageMaker would be given it."""

import argparse
import os
from pathlib import Path

from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.definition import add_tuning_argument, rendered_definition
from driftserve_pipeline.settings import read_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there, and say nothing")
    add_tuning_argument(parser)


def _run(options: argparse.Namespace) -> str:
    definition = rendered_definition(options, read_settings(os.environ))
    if options.output is None:
        return definition
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(definition)
    return ""


RENDER = Command("write the definition as JSON, without a network and an account", _add_arguments, _run)
