"""`logs`: print the logs of a step's containers."""

import argparse

from driftserve.text import printable
from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="ARN, ID or display name (default: the newest execution)"
    )
    parser.add_argument("--step", required=True, metavar="NAME", help="name of the step, as `status` shows it")


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.execution.execution import find_execution
    from driftserve_pipeline.execution.logs import read_logs, step_of
    from driftserve_pipeline.execution.report import read_report

    client = account.client("sagemaker")
    arn = find_execution(client, account.settings.pipeline_name, options.execution)
    lines = read_logs(account.client("logs"), step_of(read_report(client, arn), options.step))
    return "".join(f"{line.written:%Y-%m-%d %H:%M:%S} {line.host} {printable(line.text.rstrip())}\n" for line in lines)


LOGS = Command("print the logs of a step's containers, oldest line first", _add_arguments, on_account(_run))
