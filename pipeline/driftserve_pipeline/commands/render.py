"""`render`: the pipeline's definition, as SageMaker would be given it."""

import argparse
import os
from pathlib import Path

from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.settings import read_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there, and say nothing")
    parser.add_argument("--tuning", action="store_true", help="the variant in which a search chooses the network")


def _run(options: argparse.Namespace) -> str:
    settings = read_settings(os.environ)
    if options.tuning:
        settings = settings.model_copy(update={"tuning": True})

    from driftserve_pipeline.definition.rendering import render

    definition = render(settings)
    if options.output is None:
        return definition
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(definition)
    return ""


RENDER = Command("write the definition as JSON, without a network and an account", _add_arguments, _run)
