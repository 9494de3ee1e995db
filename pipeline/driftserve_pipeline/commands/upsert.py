"""`upsert`: put the rendered definition into the account."""

import argparse

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.definition import add_definition_arguments, chosen_definition
from driftserve_pipeline.errors import PipelineError


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.execution.deployment import deploy

    settings = account.settings
    caller = account.client("sts").get_caller_identity()["Account"]
    if caller != settings.account:
        raise PipelineError(
            f"expected the credentials of account {settings.account}, got those of {caller}; change "
            "DRIFTSERVE_PIPELINE_ACCOUNT or the credentials"
        )
    definition = chosen_definition(options, settings)
    client = account.client("sagemaker")
    return f"{deploy(client, settings.pipeline_name, definition, settings.role_arn, settings.tags)}\n"


UPSERT = Command("put the rendered definition into the account", add_definition_arguments, on_account(_run))
