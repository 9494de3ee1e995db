"""Run SageMaker's processing and training jobs as processes, in the folder layout of their containers."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes.expression import Scope, resolve
from driftserve_pipeline.local.storage import Storage

CONTAINERS_PYTHON = "/opt/venv/bin/python"  # the Python in the training Docker image
_OPT_ML = Path("/opt/ml")
_CONTAINERS_TRAIN = ("train",)  # the program for training jobs in the training Docker image
# SageMaker's host is called algo-1. No name server knows that name here, and torchrun may look it up.
_HOSTS = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"}


@dataclass(frozen=True)
class Machine:
    """What jobs need: S3, a Python in place of the Docker image's, a lock to inherit, and environment variables."""

    storage: Storage
    python: Path
    lock: int
    environment: Mapping[str, str]


def check_job(name: str, arguments: Mapping[str, Any], parameters: Mapping[str, object]) -> None:
    """Raise if a job cannot run on this machine; called before any job runs.

    Raises:
        PipelineError: the job runs a program that is not in the training Docker image, or needs folders outside /opt/ml
            or several hosts.
    """
    try:
        program = arguments.get("AppSpecification") or arguments.get("AlgorithmSpecification")
        if program:
            to_command([*program.get("ContainerEntrypoint", _CONTAINERS_TRAIN)], Path())
        for mount in (*arguments.get("ProcessingInputs", ()), *_outputs(arguments)):
            local_folder(mount.get("S3Input", mount)["LocalPath"], Path())
        for channel in arguments.get("InputDataConfig", ()):
            _channel_folder(channel, Path())
        hosts = arguments.get("TrainingJobDefinition", arguments).get("ResourceConfig", {}).get("InstanceCount", 1)
        if (number := resolve(hosts, Scope(parameters, {}, {}))) != 1:
            raise PipelineError(f"expected one host, because there is one machine, got {number}; use 1")
    except PipelineError as error:
        raise PipelineError(f"{name}: {error}") from error


def run_processing(arguments: Mapping[str, Any], base: Path, log: Path, machine: Machine) -> None:
    """Run a processing job with the arguments of CreateProcessingJob, in a folder that stands for /opt/ml.

    Raises:
        PipelineError: an input is missing, or the program failed. The message has the program's reason.
    """
    shutil.rmtree(base, ignore_errors=True)
    for source in arguments.get("ProcessingInputs", ()):
        machine.storage.download(source["S3Input"]["S3Uri"], local_folder(source["S3Input"]["LocalPath"], base))
    for output in _outputs(arguments):
        local_folder(output["LocalPath"], base).mkdir(parents=True)
    _write_json(base / "config" / "processingjobconfig.json", arguments)
    _write_json(base / "config" / "resourceconfig.json", _HOSTS)
    (base / "output").mkdir(exist_ok=True)
    program = arguments["AppSpecification"]
    command = [*program.get("ContainerEntrypoint", ()), *program.get("ContainerArguments", ())]
    _run(command, arguments, base, log, machine, base / "output" / "message")


def publish_processing(arguments: Mapping[str, Any], base: Path, storage: Storage) -> None:
    """Copy the outputs of a processing job to their locations in S3."""
    for output in _outputs(arguments):
        storage.upload(local_folder(output["LocalPath"], base), output["S3Uri"])


def run_training(arguments: Mapping[str, Any], base: Path, log: Path, machine: Machine) -> None:
    """Run a training job with the arguments of CreateTrainingJob. Keep the checkpoints of an earlier attempt.

    Raises:
        PipelineError: a channel is missing, or the program failed. The message has the program's reason.
    """
    for leftover in ("input", "model", "output"):
        shutil.rmtree(base / leftover, ignore_errors=True)
    for folder in ("input/data", "model", "output/data"):
        (base / folder).mkdir(parents=True)
    if checkpoints := arguments.get("CheckpointConfig"):
        local_folder(checkpoints.get("LocalPath", "/opt/ml/checkpoints"), base).mkdir(exist_ok=True)
    for channel in arguments.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]["S3Uri"]
        machine.storage.download(source, _channel_folder(channel, base))
    configuration = base / "input" / "config"
    _write_json(configuration / "hyperparameters.json", arguments.get("HyperParameters", {}))
    _write_json(configuration / "resourceconfig.json", _HOSTS)
    record = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    channels = [channel["ChannelName"] for channel in arguments.get("InputDataConfig", ())]
    _write_json(configuration / "inputdataconfig.json", dict.fromkeys(channels, record))
    algorithm = arguments["AlgorithmSpecification"]
    command = [*algorithm.get("ContainerEntrypoint", _CONTAINERS_TRAIN), *algorithm.get("ContainerArguments", ())]
    _run(command, arguments, base, log, machine, base / "output" / "failure")
    for name in ("model", "output/data"):
        with tarfile.open(base / "output" / f"{Path(name).parts[0]}.tar.gz", "w:gz") as archive:
            archive.add(base / name, ".")


def publish_training(arguments: Mapping[str, Any], base: Path, storage: Storage) -> dict[str, Any]:
    """Copy a training job's model and output to S3, and return the field that SageMaker reports for the model."""
    place = f"{arguments['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{arguments['TrainingJobName']}/output"
    for name in ("model.tar.gz", "output.tar.gz"):
        storage.upload(base / "output" / name, f"{place}/{name}")
    return {"ModelArtifacts": {"S3ModelArtifacts": f"{place}/model.tar.gz"}}


def final_metrics(arguments: Mapping[str, Any], log: Path) -> dict[str, float]:
    """Return the last value of each metric, found in the log by the job's metric definitions."""
    text = log.read_text(errors="replace")
    defined = arguments["AlgorithmSpecification"].get("MetricDefinitions", ())
    found = {metric["Name"]: re.findall(metric["Regex"], text) for metric in defined}
    return {name: float(values[-1]) for name, values in found.items() if values}


def local_folder(path: str, base: Path) -> Path:
    """Return the local folder of a container's folder, under the base that stands for /opt/ml.

    >>> local_folder("/opt/ml/processing/input/data", Path("work")).as_posix()
    'work/processing/input/data'

    Raises:
        PipelineError: the folder is not below /opt/ml.
    """
    if not Path(path).is_relative_to(_OPT_ML) or ".." in Path(path).parts:
        raise PipelineError(f"expected a folder below {_OPT_ML}, got {path}")
    return base / Path(path).relative_to(_OPT_ML)


def to_command(program: Sequence[str], python: Path) -> list[str]:
    """Return a container's command for this machine: the same modules, run by another Python.

    >>> to_command(["train"], Path("python")), to_command(["/opt/venv/bin/python", "-m", "driftserve"], Path("python"))
    (['python', '-m', 'driftserve_training.job'], ['python', '-m', 'driftserve'])

    Raises:
        PipelineError: the command is not one of the training Docker image.
    """
    if tuple(program) == _CONTAINERS_TRAIN:
        return [str(python), "-m", "driftserve_training.job"]
    if program and program[0] == CONTAINERS_PYTHON:
        return [str(python), *program[1:]]
    raise PipelineError(f"expected the program {CONTAINERS_PYTHON} or `train`, got {' '.join(program) or 'nothing'}")


def _channel_folder(channel: Mapping[str, Any], base: Path) -> Path:
    return local_folder(f"{_OPT_ML}/input/data/{channel['ChannelName']}", base)


def _outputs(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    outputs = arguments.get("ProcessingOutputConfig", {"Outputs": ()})["Outputs"]
    return [{"OutputName": output["OutputName"], **output["S3Output"]} for output in outputs]


def _run(
    program: Sequence[str], arguments: Mapping[str, Any], base: Path, log: Path, machine: Machine, why: Path
) -> None:
    """Run a program to its end. A guard process holds the lock too, and ends the program if this process ends."""
    own = {"SAGEMAKER_BASE_DIR": str(base)}
    guarded = [sys.executable, "-m", "driftserve.host.guard", str(os.getpid()), *to_command(program, machine.python)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            guarded,
            cwd=base,
            env={**machine.environment, **arguments.get("Environment", {}), **own},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(machine.lock,),
        )
        try:
            status = process.wait()
        finally:
            process.terminate()  # the guard ends the program; no effect if it has ended
            process.wait()
    if status:
        source = why if why.is_file() else log
        raise PipelineError(f"{_line(source)} (exit status {status}; log: {log})")


def _line(file: Path) -> str:
    """Return the first line of a reason file, or the last line of a log."""
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "ended without any output"
    return lines[-1] if file.name == "log" else lines[0]


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
