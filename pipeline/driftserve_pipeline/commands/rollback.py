"""`rollback`: make an older version the champion again."""

import argparse
import json

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="VERSION",
        help="number or ARN of an older approved version (default: the approved version before the champion)",
    )
    parser.add_argument("--reason", required=True, help="reason in one line; stored with every version that changes")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import roll_back

    done = roll_back(
        account.client("sagemaker"),
        account.client("s3"),
        account.settings.model_package_group,
        options.to,
        options.reason,
    )
    if options.json:
        written = {"champion": done.champion.arn, "rejected": [version.arn for version in done.rejected]}
        return json.dumps(written) + "\n"
    number, rejected = done.champion.version, ", ".join(str(version.version) for version in done.rejected)
    return (
        f"version {number} is the champion; rejected: {rejected}\n"
        "It was approved again, which deploys it if your endpoint follows approval events. Check the endpoint. "
        f"If nothing was deployed, run `approve {number}` again, or deploy {done.champion.model_data_url} by hand.\n"
    )


ROLLBACK = Command(
    "make an older approved version the champion again",
    _add_arguments,
    on_account(_run),
    "Rejects the newer approved versions, and approves the older version again. Check your endpoint afterwards.",
)
