"""The definition that a command compares or deploys: rendered now, or from a file."""

import argparse
from pathlib import Path

from driftserve_pipeline.settings import PipelineSettings


def add_definition_argument(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file."""
    parser.add_argument(
        "--definition",
        type=Path,
        metavar="FILE",
        help="what `render` has written; no SDK is needed then (default: rendered now)",
    )


def rendered_definition(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """The definition, as JSON."""
    if options.definition is not None:
        return str(options.definition.read_text(encoding="utf-8"))
    from driftserve_pipeline.definition.rendering import render

    return render(settings)
