"""What is asked and said of a decision about a version."""

import argparse
import json
from typing import Any

from driftserve_pipeline.registry.versions import ModelVersion, champion


def add_decision_arguments(parser: argparse.ArgumentParser) -> None:
    """The version, the reason, and how the outcome is printed."""
    parser.add_argument("version", metavar="VERSION", help="its number or ARN")
    parser.add_argument("--reason", required=True, help="kept with the version, one line")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def said_of(client: Any, group: str, version: ModelVersion, decision: str, is_json: bool) -> str:
    """The decision, and which version is the champion after it."""
    current = champion(client, group)
    if is_json:
        written = {"version": version.arn, "decision": decision, "champion": current.arn if current else None}
        return json.dumps(written) + "\n"
    if current is None:
        after = "no version is approved now"
    elif current.version == version.version:
        after = "it is the champion"
    else:
        after = f"version {current.version} is the champion, the newest approved one"
    return f"version {version.version} is {decision}; {after}\n"
