"""The definition that a command writes, compares or deploys: rendered now, or from a file."""

import argparse
from pathlib import Path

from driftserve_pipeline.settings import PipelineSettings


def add_definition_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file, or the one that chooses what is rendered now."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--definition",
        type=Path,
        metavar="FILE",
        help="what `render` has written; no SDK is needed then (default: rendered now)",
    )
    add_tuning_argument(either)


def add_tuning_argument(parser: argparse._ActionsContainer) -> None:
    """The flag that chooses the variant, in place of the setting."""
    parser.add_argument("--tuning", action="store_true", help="the variant in which a search chooses the network")


def chosen_definition(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """The definition of these flags, as JSON."""
    if options.definition is not None:
        return str(options.definition.read_text(encoding="utf-8"))
    return rendered_definition(options, settings)


def rendered_definition(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """The definition of the variant, as JSON, rendered now."""
    from driftserve_pipeline.definition.rendering import render

    return render(settings.model_copy(update={"tuning": settings.tuning or options.tuning}))
