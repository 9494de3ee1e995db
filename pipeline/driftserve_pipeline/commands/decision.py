"""What is asked and said of a decision about a version."""

import argparse
import json
from typing import Any

from driftserve_pipeline.registry.versions import ModelVersion, newest_approved


def add_decision_arguments(parser: argparse.ArgumentParser) -> None:
    """The version, the reason, and how the outcome is printed."""
    parser.add_argument("version", metavar="VERSION", help="its number or ARN")
    parser.add_argument("--reason", required=True, help="kept with the version, one line")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def said_of(client: Any, group: str, version: ModelVersion, decision: str, is_json: bool) -> str:
    """The decision, and which version is the champion after it."""
    current = newest_approved(client, group)  # the decision is made, whatever that one is
    if is_json:
        champion = current.arn if current is not None and current.model_data_url else None
        written = {"version": version.arn, "decision": decision, "champion": champion}
        return json.dumps(written) + "\n"
    if current is None:
        after = "no version is approved now"
    elif not current.model_data_url:
        after = f"version {current.version}, the newest approved one, is another model and cannot serve: reject it"
    elif current.version == version.version:
        after = "it is the champion"
    else:
        after = f"version {current.version} is the champion, the newest approved one"
    return f"version {version.version} is {decision}; {after}\n"
