"""One execution in local mode: the part that `run` starts in the environment that has the SDK."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from driftserve.errors import DriftserveError
from driftserve.printable import printable
from driftserve_pipeline.definition.blueprint import draw
from driftserve_pipeline.definition.pipeline import assemble
from driftserve_pipeline.definition.registration import register_from_container
from driftserve_pipeline.definition.tuning import tune_in_container
from driftserve_pipeline.sdk.local_mode import LOCAL, open_local_session, run_locally
from driftserve_pipeline.settings import read_settings

# What a container needs to know of where S3 and the registry are; local mode gives it the keys itself.
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "NO_PROXY")


def main() -> int:
    """Run the pipeline of the environment's settings in local mode; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="for the containers' folders")
    parser.add_argument("--label", required=True, help="of the containers")
    parser.add_argument("--result", type=Path, required=True, help="file for how it ended, as JSON")
    parser.add_argument("--parameters", type=json.loads, required=True, help="of the pipeline, as JSON")
    options = parser.parse_args()
    try:
        execution = _run(options)
    except (DriftserveError, OSError) as error:
        sys.stderr.write(f"driftserve_pipeline: {printable(error)}\n")
        return 2
    options.result.write_text(json.dumps({"execution": execution.execution_id, "reason": execution.reason}))
    return 0


def _run(options: argparse.Namespace) -> Any:
    settings = read_settings(os.environ).model_copy(update={"processing_instance_type": LOCAL, "spot": False})
    session = open_local_session(settings, options.folder, options.label)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    pipeline = assemble(draw(settings, session, environment), tune_in_container, register_from_container)
    return run_locally(session, pipeline, {"InstanceType": LOCAL, **options.parameters})


if __name__ == "__main__":
    sys.exit(main())
