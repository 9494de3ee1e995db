"""Run the pipeline in containers with SageMaker's local mode. moto's server replaces S3 and the model registry."""

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.aws import local_aws, make_client
from driftserve_pipeline.local.containers.docker import Engine
from driftserve_pipeline.local.containers.images import choose
from driftserve_pipeline.local.options import with_record
from driftserve_pipeline.local.run import Result, locked
from driftserve_pipeline.local.storage import Storage, unpack_model
from driftserve_pipeline.registry.versions import list_versions
from driftserve_pipeline.settings import PipelineSettings, to_variables

_LOG = "log"  # file in the work folder
_FOLDERS = "containers"  # folder in the work folder
_PROGRAM = "driftserve_pipeline.local.containers.execution"


@dataclass(frozen=True)
class ContainerRun:
    """The inputs of a run."""

    settings: PipelineSettings
    parameters: Mapping[str, str]
    work: Path
    """Folder for the registered model, the log, and the containers' folders while they run."""
    engine: Engine
    """Docker."""
    python: Path
    """Python of the environment that has the SageMaker SDK."""
    images: Path
    """Folder of pictures in any layout that Fetch supports. They are copied to the local S3."""
    images_per_class: int
    """Number of pictures to use from each folder."""
    weights: Path | None = None
    """A timm weights file. `<file>.json` beside it, which says what it is, is used if it exists."""


def container_run(run: ContainerRun, say: Callable[[str], None]) -> Result:
    """Run an execution to its end, and return its result. A line for each step appears on stdout.

    Raises:
        PipelineError: Docker, the training Docker image or the pictures are missing, another run uses the work folder,
            or the SDK refuses the pipeline.
    """
    run.engine.check_image(run.settings.training_image)
    with locked(run.work, _raise_in_use), local_aws(None, run.engine.bridge_address()) as environment:
        storage = Storage(make_client("s3", environment))
        settings, parameters = _with_sources(run, storage, say)
        say(f"the containers' log: {run.work / _LOG}")
        result = _run(run, settings, parameters, environment)
        if result.reason is not None:
            return result
        newest = list_versions(make_client("sagemaker", environment), settings.model_package_group)[0]
        unpack_model(storage, newest.model_data_url, run.work / "model")
        return replace(result, package=newest.arn, archive=str(run.work / "model"))


def _raise_in_use() -> NoReturn:
    raise PipelineError("another run uses the --work folder; wait until it ends, or choose another folder")


def _with_sources(
    run: ContainerRun, storage: Storage, say: Callable[[str], None]
) -> tuple[PipelineSettings, dict[str, str]]:
    """Copy the pictures and weights to S3; return settings and parameters with the S3 URLs of these copies."""
    place = f"s3://{run.settings.bucket}/sources"
    parameters = {"TrainLocation": f"{place}/images", **run.parameters}
    chosen = choose(run.images, run.images_per_class)
    say(f"using {len(chosen.files)} of {chosen.there} files, at most {run.images_per_class} from each folder")
    with tempfile.TemporaryDirectory() as scratch:
        for name, file in chosen.files.items():
            link = Path(scratch, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        storage.upload(Path(scratch), f"{place}/images")
    if run.weights is None:
        return run.settings, parameters
    for file in with_record(run.weights):
        storage.upload(file, f"{place}/weights/{file.name}")
    return run.settings.model_copy(update={"weights": f"{place}/weights"}), parameters


def _run(
    run: ContainerRun, settings: PipelineSettings, parameters: Mapping[str, str], environment: Mapping[str, str]
) -> Result:
    label, before = f"driftserve.pipeline={uuid.uuid4()}", run.engine.networks()
    folders = run.work / _FOLDERS
    shutil.rmtree(folders, ignore_errors=True)  # files that a container wrote as root stay, unless we are root
    folders.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folders, ignore_cleanup_errors=True) as scratch:
        result = Path(scratch, "result.json")
        command = [str(run.python), "-m", _PROGRAM, "--label", label, "--result", str(result)]
        command += ["--folder", str(Path(scratch, "jobs")), "--log", str(run.work / _LOG)]
        command += ["--parameters", json.dumps(parameters)]
        try:
            done = subprocess.run(command, env={**environment, **to_variables(settings)}, check=False)
        finally:
            run.engine.remove(label, before)
        if done.returncode:
            raise PipelineError(
                f"{_PROGRAM} ended with exit status {done.returncode}; the reason is in the output above"
            )
        ended = json.loads(result.read_text())
    if "refused" in ended:
        raise PipelineError(ended["refused"])
    return Result(ended["execution"], ended["reason"])
