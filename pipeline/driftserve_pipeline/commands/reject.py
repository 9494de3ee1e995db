"""`reject`: let a version never serve, or no longer be the champion."""

import argparse

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.decision import add_decision_arguments, said_of


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import find_version, reject

    client, group = account.client("sagemaker"), account.settings.model_package_group
    version = find_version(client, group, options.version)
    reject(client, version, options.reason)
    return said_of(client, group, version, "rejected", options.json)


REJECT = Command("keep a version from serving, and say why", add_decision_arguments, on_account(_run))
