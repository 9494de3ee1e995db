"""`diff`: what `upsert` would change."""

import argparse

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command, Outcome
from driftserve_pipeline.commands.definition import add_definition_arguments, chosen_definition


def _run(options: argparse.Namespace, account: Account) -> Outcome:
    from driftserve_pipeline.execution.deployment import deployed_definition, difference

    rendered = chosen_definition(options, account.settings)
    changes = difference(deployed_definition(account.client("sagemaker"), account.settings.pipeline_name), rendered)
    return Outcome(changes, 1 if changes else 0)


DIFF = Command("show what `upsert` would change; exit status 1 if anything", add_definition_arguments, on_account(_run))
