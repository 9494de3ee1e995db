"""`status`: show the progress of an execution."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone

from driftserve.text import printable
from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command, Outcome
from driftserve_pipeline.commands.table import table
from driftserve_pipeline.execution.report import ExecutionReport, StepReport, read_report, wait

_SECONDS_BETWEEN = 15.0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="ARN, ID or display name (default: the newest execution)"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait until it ends; print each step's status to stderr; exit with 1 if the execution did not succeed",
    )


def _run(options: argparse.Namespace, account: Account) -> Outcome:
    from driftserve_pipeline.execution.execution import find_execution

    client = account.client("sagemaker")
    arn = find_execution(client, account.settings.pipeline_name, options.execution)
    if not options.wait:
        return Outcome(_written(read_report(client, arn), options.json))
    report = wait(lambda: read_report(client, arn), lambda: time.sleep(_SECONDS_BETWEEN), _say)
    return Outcome(_written(report, options.json), 0 if report.status == "Succeeded" else 1)


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def _written(report: ExecutionReport, is_json: bool) -> str:
    if is_json:
        return json.dumps(asdict(report), default=datetime.isoformat) + "\n"
    name = f" ({report.name})" if report.name else ""
    lines = [f"{report.arn}{name}\n{report.status}, created {report.created:%Y-%m-%d %H:%M:%S %Z}\n"]
    if report.failure_reason:
        lines.append(f"{printable(report.failure_reason)}\n")
    now = datetime.now(timezone.utc)
    rows = [["step", "status", "duration", "attempts", "cached", "reason"], *(_row(step, now) for step in report.steps)]
    return "".join(lines) + (table(rows) if report.steps else "no step has started\n")


def _row(step: StepReport, now: datetime) -> list[str]:
    until = step.ended or now
    duration = f"{(until - step.started).total_seconds():.0f} s" if step.started else ""
    cached = "yes" if step.cached_from else ""
    return [step.name, step.status, duration, str(step.attempts), cached, step.failure_reason or ""]


STATUS = Command("show the progress of an execution, step by step", _add_arguments, on_account(_run))
