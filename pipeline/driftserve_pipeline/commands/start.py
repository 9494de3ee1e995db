"""`start`: run the pipeline, unless it is running or has succeeded with the same manifest."""

import argparse
import json

from driftserve_pipeline.commands.account import Account, on_account
from driftserve_pipeline.commands.command import Command

_CASES = {
    "started": "started",
    "running": "already running with the same manifest",
    "succeeded": "already succeeded with the same manifest; use --again to run it again",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the deployed pipeline; can be repeated. Other parameters have their defaults",
    )
    parser.add_argument(
        "--again", action="store_true", help="run the pipeline even if it has already succeeded with the same inputs"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _run(options: argparse.Namespace, account: Account) -> str:
    from driftserve_pipeline.execution.start import read_manifest, start

    sagemaker, pipeline = account.client("sagemaker"), account.settings.pipeline_name
    manifest = read_manifest(sagemaker, account.client("s3"), pipeline, options.param)
    started = start(sagemaker, pipeline, manifest, again=options.again)
    if options.json:
        written = {
            "execution": started.arn,
            "case": started.case,
            "manifest_sha256": manifest.sha256,
            "definition_sha256": manifest.definition_sha256,
            "parameters": dict(manifest.parameters),
        }
        return json.dumps(written) + "\n"
    return f"{started.arn}\n{_CASES[started.case]}; manifest sha256:{manifest.sha256}\n"


START = Command(
    "run the pipeline; inputs that have been run before start no new execution",
    _add_arguments,
    on_account(_run),
    "Does nothing if it is already running, or has already succeeded, with the same inputs. Refuses to start while it "
    "runs with other inputs.",
)
