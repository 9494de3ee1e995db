"""`versions`: list the registered versions of the model."""

import argparse
import json
import textwrap
from dataclasses import asdict
from datetime import datetime

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.table import table
from driftserve_pipeline.registry.versions import APPROVED, ModelVersion, list_versions

_DIGEST_LETTERS = 12
_CERTIFICATE_LETTERS = 84  # --json and `compare` show all of it


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _run(options: argparse.Namespace, account: Account) -> str:
    group = account.settings.model_package_group
    versions = list_versions(account.client("sagemaker"), group)
    newest = next((version for version in versions if version.status == APPROVED), None)
    champion = newest if newest is not None and newest.model_data_url else None
    if options.json:
        listed = [{**asdict(version), "is_champion": version == champion} for version in versions]
        return json.dumps(listed, default=datetime.isoformat) + "\n"
    if not versions:
        return f"no version is registered in {group}\n"
    heading = ["version", "status", "accuracy", "under corruption", "certificate", "archive", "created", ""]
    rows = [
        [
            str(version.version),
            version.status,
            version.metadata.get("accuracy", "-"),
            version.metadata.get("mean_corruption_accuracy", "-"),
            textwrap.shorten(version.metadata.get("certificate", "-"), _CERTIFICATE_LETTERS, placeholder=" ..."),
            version.metadata.get("archive_sha256", "-")[:_DIGEST_LETTERS],
            f"{version.created:%Y-%m-%d %H:%M}",
            _note(version, version == champion),
        ]
        for version in versions
    ]
    return table([heading, *rows])


def _note(version: ModelVersion, is_champion: bool) -> str:
    if not version.model_data_url:
        return "another kind of model: cannot serve"
    return "champion" if is_champion else ""


VERSIONS = Command(
    "list the registered versions, and show which one is the champion",
    _add_arguments,
    on_account(_run),
    "The champion is the newest approved version.",
)
