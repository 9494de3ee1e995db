"""`compare`: show two versions side by side."""

import argparse
import json

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command
from driftserve_pipeline.commands.table import table
from driftserve_pipeline.registry.comparison import Compared, Value, compare


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", help="number or ARN of a version")
    parser.add_argument("second", metavar="B", help="number or ARN of the other version")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.registry.approval import find_version

    client, group = account.client("sagemaker"), account.settings.model_package_group
    first, second = (find_version(client, group, wanted) for wanted in (options.first, options.second))
    comparison = compare(account.client("s3"), first, second)
    if options.json:
        written = {
            "first": first.arn,
            "second": second.arn,
            "same_test_images": comparison.is_of_same_images,
            "rows": {row.name: [row.first, row.second] for row in comparison.rows},
        }
        return json.dumps(written) + "\n"
    heading = ["", "difference", f"version {first.version}", f"version {second.version}"]  # wide columns last
    text = table([heading, *map(_row, comparison.rows)])
    if not comparison.is_of_same_images:
        text += "the test images may differ, so the metrics may not be comparable\n"
    return text


def _row(row: Compared) -> list[str]:
    difference = "" if row.difference is None else f"{row.difference:+.4g}"
    return [row.name, difference, _written(row.first), _written(row.second)]


def _written(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


COMPARE = Command("show two versions side by side", _add_arguments, on_account(_run))
