"""The definition of a dry run, rendered by the Python that has the SageMaker SDK."""

import os
import subprocess
import tempfile
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, to_variables

_PROGRAM = "driftserve-pipeline: "  # before what it says


def rendered_definition(python: Path, settings: PipelineSettings, work: Path) -> bytes:
    """The definition of the settings' pipeline, as JSON, which is left as `pipeline.json` in the work folder.

    Args:
        python: of the environment that has the SDK.
        settings: of the pipeline.
        work: made where it is not there.

    Raises:
        PipelineError: there is no such Python, or it refuses to render.
    """
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        file = Path(scratch, "pipeline.json")
        command = [str(python), "-m", "driftserve_pipeline", "render", "--output", str(file)]
        try:
            done = subprocess.run(
                command, env={**os.environ, **to_variables(settings)}, stderr=subprocess.PIPE, text=True, check=False
            )
        except OSError as error:
            raise PipelineError(
                f"--pipeline-python: expected a Python with the SageMaker SDK, got {error}; "
                "`make install-pipeline` makes one"
            ) from error
        if done.returncode:
            *_, reason = ["no reason", *done.stderr.splitlines()]
            raise PipelineError(reason.removeprefix(_PROGRAM))
        definition = file.read_bytes()
        file.replace(work / file.name)
    return definition
