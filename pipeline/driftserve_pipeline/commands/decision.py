"""`approve` and `reject`: decide whether a version may serve."""

import argparse
import json
from typing import Any

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.registry.versions import ModelVersion, newest_approved


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="VERSION", help="number or ARN of the version")
    parser.add_argument("--reason", required=True, help="reason in one line; stored with the version")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _approve(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import approve, find_version

    client, group = account.client("sagemaker"), account.settings.model_package_group
    version = find_version(client, group, options.version)
    approve(client, account.client("s3"), version, options.reason)
    return format_decision(client, group, version, "approved", options.json)


def _reject(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import find_version, reject

    client, group = account.client("sagemaker"), account.settings.model_package_group
    version = find_version(client, group, options.version)
    reject(client, version, options.reason)
    return format_decision(client, group, version, "rejected", options.json)


def format_decision(client: Any, group: str, version: ModelVersion, decision: str, is_json: bool) -> str:
    """Format the decision, and the champion after it."""
    current = newest_approved(client, group)  # report the decision even if this version cannot serve
    if is_json:
        champion = current.arn if current is not None and current.model_data_url else None
        written = {"version": version.arn, "decision": decision, "champion": champion}
        return json.dumps(written) + "\n"
    if current is None:
        after = "no version is approved now"
    elif not current.model_data_url:
        after = (
            f"version {current.version}, the newest approved one, is another kind of model and cannot serve; reject it"
        )
    elif current.version == version.version:
        after = "it is the champion"
    else:
        after = f"version {current.version} is the champion, because it is the newest approved one"
    return f"version {version.version} is {decision}; {after}\n"


APPROVE = Command(
    "approve a version, which allows you to deploy it",
    _add_arguments,
    on_account(_approve),
    "This command does not deploy it. SageMaker sends an approval event, which can trigger your own deployment.",
)
REJECT = Command(
    "reject a version, so that it cannot become the champion",
    _add_arguments,
    on_account(_reject),
    "This command does not change any endpoint.",
)
