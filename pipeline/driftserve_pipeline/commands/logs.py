"""`logs`: what a step's containers have written."""

import argparse

from driftserve.text import printable
from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="its ARN, id or display name (default: the newest)"
    )
    parser.add_argument("--step", required=True, metavar="NAME", help="as `status` shows it")


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.execution.execution import find_execution
    from driftserve_pipeline.execution.logs import read_logs, step_of
    from driftserve_pipeline.execution.report import read_report

    client = account.client("sagemaker")
    arn = find_execution(client, account.settings.pipeline_name, options.execution)
    lines = read_logs(account.client("logs"), step_of(read_report(client, arn), options.step))
    return "".join(f"{line.written:%Y-%m-%d %H:%M:%S} {line.host} {printable(line.text.rstrip())}\n" for line in lines)


LOGS = Command("print what a step's containers have written, in the order of time", _add_arguments, on_account(_run))
