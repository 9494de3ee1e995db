"""The whole pipeline in containers of this machine: SageMaker's local mode, with moto's server for S3 and registry."""

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

_LOG = "log"
_FOLDERS = "containers"
_PROGRAM = "driftserve_pipeline.local.containers.execution"


@dataclass(frozen=True)
class ContainerRun:
    """What is run, and where."""

    settings: PipelineSettings
    parameters: Mapping[str, str]
    work: Path
    """Where the registered model is put, the log, and the containers' folders while they run."""
    engine: Engine
    python: Path
    """Of the environment that has the SageMaker SDK."""
    images: Path
    """In any layout that Fetch knows; put into the local S3."""
    images_per_class: int
    """How many of each folder are."""
    weights: Path | None = None
    """A timm weights file, with its record beside it or not."""


def container_run(run: ContainerRun, say: Callable[[str], None]) -> Result:
    """Run an execution to its end; a line for each step goes to stdout.

    Raises:
        PipelineError: there is no engine, no image, another run has the folder, or the SDK refuses the pipeline.
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
    raise PipelineError("expected a --work that no other run has, got one in use; wait for its end, or give another")


def _with_sources(
    run: ContainerRun, storage: Storage, say: Callable[[str], None]
) -> tuple[PipelineSettings, dict[str, str]]:
    """The settings and parameters that name the images and weights, which are in S3 then."""
    place = f"s3://{run.settings.bucket}/sources"
    parameters = {"TrainLocation": f"{place}/images", **run.parameters}
    chosen = choose(run.images, run.images_per_class)
    say(f"{len(chosen.files)} of {chosen.there} images, at most {run.images_per_class} of each split and class")
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
    shutil.rmtree(folders, ignore_errors=True)  # but what root has left in a container, where we are not root
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
            raise PipelineError(f"expected an execution, got exit status {done.returncode} of {_PROGRAM}; see above")
        ended = json.loads(result.read_text())
    if "refused" in ended:
        raise PipelineError(ended["refused"])
    return Result(ended["execution"], ended["reason"])
