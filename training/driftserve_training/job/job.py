"""Run a SageMaker training job: `train` in the Docker image, `python -m driftserve_training.job` elsewhere.

    docker run --volume $PWD/ml:/opt/ml IMAGE train
    SAGEMAKER_BASE_DIR=$PWD/ml python -m driftserve_training.job

The job reads `input/` under /opt/ml. It writes `model/<name>.mar`, or `model/run/` if its product is the run, and
weights, scores and logs in `output/data/`. Exit status: 0 on success, 1 on failure, 143 if stopped by SIGTERM. If it is
not 0, `output/failure` begins with the reason; SageMaker shows its first 1,024 characters. docs/training-job.md
describes the hyperparameters and the channels.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from driftserve.archive.writing import place
from driftserve.errors import DataError, DriftserveError
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_training.job.channels import Channels, find_channels
from driftserve_training.job.hosts import Hosts, read_hosts
from driftserve_training.job.hyperparameters import Hyperparameters, JobParameters, read_hyperparameters
from driftserve_training.ranks import read_ranks

RUN_FOLDER = "run"
_BASE_VARIABLE = "SAGEMAKER_BASE_DIR"  # a folder in place of /opt/ml; SageMaker's toolkit reads it too
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Job:
    """Checked inputs of a job."""

    hyperparameters: Hyperparameters
    channels: Channels
    hosts: Hosts
    processes_per_host: int

    @property
    def processes(self) -> int:
        """Number of training processes on all hosts."""
        return self.processes_per_host * len(self.hosts.hosts)


def main() -> int:
    """Run the job of this container and return the exit status."""
    base = Path(os.environ.get(_BASE_VARIABLE, "/opt/ml"))
    try:
        ranks = read_ranks()
        if ranks.processes == 1:  # before torchrun starts the other processes
            _clear(base)
        _end_at_signals(lambda number: _stop(base, number, ranks.processes))
        keep_to_temporary_directory()
        job = read_job(base)
        if job.processes > 1 and ranks.processes == 1:
            _become_torchrun(job)
        run(job, base)
    except DriftserveError as error:
        return _fail(base, printable(error))
    except Exception as error:  # SageMaker's contract: `failure` describes any error, here with its traceback
        return _fail(base, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
    return 0


def read_job(base: Path) -> Job:
    """Read, check and return the inputs of a job; read no images yet.

    Args:
        base: the folder /opt/ml, or a folder that replaces it.

    Raises:
        DataError: an input cannot be used. The message is one line.
    """
    configuration = base / "input" / "config"
    hyperparameters = read_hyperparameters(configuration / "hyperparameters.json")
    hosts = read_hosts(configuration / "resourceconfig.json")
    channels = find_channels(base / "input" / "data", configuration / "inputdataconfig.json")
    gpus = torch.cuda.device_count()
    processes = hyperparameters.job.processes_per_host or max(1, gpus)
    if processes > gpus > 0:
        raise DataError(f"expected processes_per_host of at most {gpus}, one per GPU, got {processes}; remove it")
    return Job(hyperparameters, channels, hosts, processes)


def run(job: Job, base: Path) -> None:
    """Train; in the first process of the job, write the product to `<base>/model` and print a JSON summary.

    Raises:
        DriftserveError: the data, the network or the archive cannot be used.
    """
    from driftserve_training.fitting.training import train

    trained = base / "output" / "data"
    checkpoints = base / "checkpoints"  # SageMaker saves and restores this folder if the job has a CheckpointConfig
    with job.channels.data() as data:
        configuration = job.hyperparameters.to_training(data, trained, job.channels.weights)
        parameters = job.hyperparameters.job
        record = train(configuration, checkpoints if checkpoints.is_dir() else None, _print_epoch, parameters.revision)
        if record is None:
            return
        if parameters.product == "run":
            placed = _place_run(trained, base / "model")
            print(json.dumps({"run": str(placed), "val_accuracy": record.val_accuracy, "seconds": record.seconds}))
        else:
            _archive(parameters, trained, data, base / "model", record.seconds)


def _print_epoch(epoch: int, val_accuracy: float) -> None:
    """Print a line that a SageMaker metric definition can parse."""
    tqdm.write(f"epoch={epoch} val_accuracy={val_accuracy:.4f}", file=sys.stdout)  # keeps it off the progress bar


def _archive(parameters: JobParameters, trained: Path, data: Path, model: Path, seconds: float) -> None:
    """Evaluate and explain a trained network, and write its archive."""
    from driftserve.certification.measurement import FULL, SHORT
    from driftserve_training.archiving.export import export
    from driftserve_training.evaluation.assessment import assess
    from driftserve_training.evaluation.options import AssessmentOptions
    from driftserve_training.explanation.explaining import explain

    evaluation = assess(trained, data, AssessmentOptions(robustness_images=parameters.robustness_images))
    if parameters.explained_images:
        explain(trained, data, images=parameters.explained_images)
    effort = FULL if parameters.certificate == "full" else SHORT
    with tempfile.TemporaryDirectory() as scratch:
        archive, _ = export(trained, data, Path(scratch), parameters.name, parameters.version, effort)
        placed = _place(archive, model)
    scores = {"test_accuracy": evaluation.accuracy.value, "test_macro_f1": evaluation.macro_f1.value}
    print(json.dumps({"archive": str(placed), **scores, "seconds": seconds}))


def _place(archive: Path, directory: Path) -> Path:
    """Copy the archive to a directory in one step, because SageMaker keeps the model of a stopped job too."""
    directory.mkdir(parents=True, exist_ok=True)
    return place(archive, directory / archive.name)


def _place_run(trained: Path, model: Path) -> Path:
    """Copy the run's folder, without checkpoints, to `run` in a directory, in one step; return the new folder."""
    model.mkdir(parents=True, exist_ok=True)
    part = model / f".{RUN_FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(trained, part, ignore=shutil.ignore_patterns("checkpoints"))
    return part.rename(model / RUN_FOLDER)


def _clear(base: Path) -> None:
    """Delete the output of an earlier job, so that nobody takes it for the output of this one."""
    for leftover in (base / "output" / "failure", *(base / "model").glob("*.mar")):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(base / "model" / RUN_FOLDER, ignore_errors=True)


def _become_torchrun(job: Job) -> NoReturn:
    """Replace this process by torchrun, which runs this module once for every process."""
    environment = job.hosts.environment(job.processes_per_host) | os.environ  # variables that are set already win
    command = job.hosts.torchrun(job.processes_per_host, "driftserve_training.job")
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606


def _end_at_signals(end: Callable[[signal.Signals], None]) -> None:
    """Start a thread that calls `end` at the first stop signal, whatever the main thread is doing.

    A signal handler would have to wait until the main thread returns from a collective operation of torch. And during
    fitting, Lightning installs its own handler, which waits for a broadcast (lightning 2.6, _sigterm_notifier_fn).
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while (number := os.read(reading, 1)[0]) not in _STOP_SIGNALS:
            pass  # other signals also arrive here: torch's loader handles SIGCHLD
        end(signal.Signals(number))

    threading.Thread(target=wait, daemon=True).start()


def _stop(base: Path, number: signal.Signals, processes: int) -> NoReturn:
    cause = "the job was stopped" if processes == 1 else "the job was stopped, or another process of it failed"
    _fail(base, f"ended by {number.name} before the model was written: {cause}")
    os._exit(128 + number)  # the main thread may be blocked


def _fail(base: Path, reason: str) -> int:
    """Log the reason, write it to `output/failure` unless another process did before, and return the exit status."""
    print(f"driftserve_training: {reason}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the exit status also reports the failure
        (base / "output").mkdir(parents=True, exist_ok=True)
        with (base / "output" / "failure").open("x", errors="backslashreplace") as file:
            file.write(f"{reason}\n")
    return 1
