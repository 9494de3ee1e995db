"""`render`, `diff` and `upsert`: write, compare and deploy the pipeline definition."""

import argparse
import os
from pathlib import Path

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command, Outcome
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, read_settings


def _add_render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    _add_tuning_argument(parser)


def _render(options: argparse.Namespace) -> str:
    definition = _rendered(options, read_settings(os.environ))
    if options.output is None:
        return definition
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(definition)
    return ""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--definition",
        type=Path,
        metavar="FILE",
        help="file that `render` wrote; with it, this command does not need the SageMaker SDK (default: render now)",
    )
    _add_tuning_argument(either)


def _diff(options: argparse.Namespace, account: Account) -> Outcome:
    from driftserve_pipeline.execution.deployment import deployed_definition, difference

    definition = _chosen(options, account.settings)
    changes = difference(deployed_definition(account.client("sagemaker"), account.settings.pipeline_name), definition)
    return Outcome(changes, 1 if changes else 0)


def _upsert(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.execution.deployment import deploy

    settings = account.settings
    caller = account.client("sts").get_caller_identity()["Account"]
    if caller != settings.account:
        raise PipelineError(
            f"expected the credentials of account {settings.account}, got those of {caller}; change "
            "DRIFTSERVE_PIPELINE_ACCOUNT or the credentials"
        )
    definition = _chosen(options, settings)
    client = account.client("sagemaker")
    return f"{deploy(client, settings.pipeline_name, definition, settings.role_arn, settings.tags)}\n"


def _add_tuning_argument(parser: argparse._ActionsContainer) -> None:
    """Add the flag for the variant with a search, which the setting `tuning` also selects."""
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="render the pipeline that has a step Tune, which searches for the best model, optimizer and learning rate "
        "(default: DRIFTSERVE_PIPELINE_TUNING)",
    )


def _chosen(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """Return the definition as JSON, from the given file or rendered now."""
    if options.definition is not None:
        return str(options.definition.read_text(encoding="utf-8"))
    return _rendered(options, settings)


def _rendered(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """Render the definition of the chosen variant as JSON."""
    from driftserve_pipeline.definition.rendering import render

    return render(settings.model_copy(update={"tuning": settings.tuning or options.tuning}))


RENDER = Command(
    "write the pipeline definition as JSON; this needs no network and no AWS account", _add_render_arguments, _render
)
DIFF = Command("show what `upsert` would change; exit with 1 if there is a change", _add_arguments, on_account(_diff))
UPSERT = Command(
    "create or update the pipeline in the AWS account of your credentials", _add_arguments, on_account(_upsert)
)
