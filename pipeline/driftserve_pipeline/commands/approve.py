"""`approve`: let a version serve."""

import argparse

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.decision import add_decision_arguments, said_of


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import approve, find_version

    client, group = account.client("sagemaker"), account.settings.model_package_group
    version = find_version(client, group, options.version)
    approve(client, account.client("s3"), version, options.reason)
    return said_of(client, group, version, "approved", options.json)


APPROVE = Command("let a version serve, and say why", add_decision_arguments, on_account(_run))
