"""`render`, `diff` and `upsert`: the pipeline's definition, written, compared with the deployed one, deployed."""

import argparse
import os
from pathlib import Path

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command, Outcome
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, read_settings


def _add_render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there, and say nothing")
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
        help="what `render` has written; no SDK is needed then (default: rendered now)",
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
    """The flag that chooses the variant, in place of the setting."""
    parser.add_argument("--tuning", action="store_true", help="the variant in which a search chooses the network")


def _chosen(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """The definition, as JSON: from the file that is named, or rendered now."""
    if options.definition is not None:
        return str(options.definition.read_text(encoding="utf-8"))
    return _rendered(options, settings)


def _rendered(options: argparse.Namespace, settings: PipelineSettings) -> str:
    """The definition of the variant, as JSON, rendered now."""
    from driftserve_pipeline.definition.rendering import render

    return render(settings.model_copy(update={"tuning": settings.tuning or options.tuning}))


RENDER = Command("write the definition as JSON, without a network and an account", _add_render_arguments, _render)
DIFF = Command("show what `upsert` would change; exit status 1 if anything", _add_arguments, on_account(_diff))
UPSERT = Command("put the rendered definition into the account", _add_arguments, on_account(_upsert))
