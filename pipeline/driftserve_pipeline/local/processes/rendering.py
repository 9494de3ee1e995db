"""Render the definition of a dry run, with the Python that has the SageMaker SDK."""

import os
import subprocess
import tempfile
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, to_variables

_PROGRAM = "driftserve-pipeline: "  # prefix of the messages of `render`


def rendered_definition(python: Path, settings: PipelineSettings, work: Path) -> bytes:
    """Return the definition of the settings' pipeline as JSON, and keep it as `pipeline.json` in the work folder.

    Args:
        python: the Python of the environment that has the SDK.
        settings: the settings of the pipeline.
        work: the work folder; created if it does not exist.

    Raises:
        PipelineError: the Python does not exist, or it cannot render.
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
                f"--pipeline-python: cannot run this Python: {error}; "
                "`make install-pipeline` makes one with the SageMaker SDK"
            ) from error
        if done.returncode:
            *_, reason = ["no reason", *done.stderr.splitlines()]
            raise PipelineError(reason.removeprefix(_PROGRAM))
        definition = file.read_bytes()
        file.replace(work / file.name)
    return definition
