"""A training job as SageMaker runs it: `train` in the training image, `python -m driftserve_training.job` elsewhere.

    docker run --volume $PWD/ml:/opt/ml IMAGE train
    SAGEMAKER_BASE_DIR=$PWD/ml python -m driftserve_training.job

Reads `input/` under /opt/ml; leaves `model/<name>.mar`, or `model/run/` where the job's product is the run itself, and,
in `output/data/`, weights, scores and logs. Exit status:
0 done, 1 failed, 143 stopped by SIGTERM; `output/failure` then says why, the reason first, of which SageMaker shows
1,024 characters. docs/training-job.md has the hyperparameters and the channels.
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

from driftserve.errors import DataError, DriftserveError
from driftserve.text import printable
from driftserve_training.job.channels import Channels, find_channels
from driftserve_training.job.hosts import Hosts, read_hosts
from driftserve_training.job.hyperparameters import Hyperparameters, JobParameters, read_hyperparameters
from driftserve_training.ranks import read_ranks

RUN_FOLDER = "run"
_BASE_VARIABLE = "SAGEMAKER_BASE_DIR"  # SageMaker's own toolkit reads it too
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Job:
    """What a job was given."""

    hyperparameters: Hyperparameters
    channels: Channels
    hosts: Hosts
    processes_per_host: int

    @property
    def processes(self) -> int:
        """The number of processes that train, on all hosts."""
        return self.processes_per_host * len(self.hosts.hosts)


def main() -> int:
    """Run the job of this container; the exit status."""
    base = Path(os.environ.get(_BASE_VARIABLE, "/opt/ml"))
    try:
        ranks = read_ranks()
        if ranks.processes == 1:  # before there are others
            _clear(base)
        _end_at_signals(lambda number: _stop(base, number, ranks.processes))
        job = read_job(base)
        if job.processes > 1 and ranks.processes == 1:
            _become_torchrun(job)
        run(job, base)
    except DriftserveError as error:
        return _fail(base, printable(error))
    except Exception as error:  # SageMaker's contract: whatever it is, `failure` has the traceback
        return _fail(base, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
    return 0


def read_job(base: Path) -> Job:
    """The job under a folder that stands for /opt/ml, checked before anything is read or trained.

    Raises:
        DataError: something that was given cannot be used; one line.
    """
    configuration = base / "input" / "config"
    hyperparameters = read_hyperparameters(configuration / "hyperparameters.json")
    hosts = read_hosts(configuration / "resourceconfig.json")
    channels = find_channels(base / "input" / "data", configuration / "inputdataconfig.json")
    gpus = torch.cuda.device_count()
    processes = hyperparameters.job.processes_per_host or max(1, gpus)
    if processes > gpus > 0:
        raise DataError(f"expected processes_per_host of at most {gpus}, one a GPU, got {processes}; leave it out")
    return Job(hyperparameters, channels, hosts, processes)


def run(job: Job, base: Path) -> None:
    """Train and, in the first process of the job, leave its product in `<base>/model`.

    Raises:
        DriftserveError: the data, the network or the archive is refused.
    """
    from driftserve_training.fitting.training import train

    trained = base / "output" / "data"
    checkpoints = base / "checkpoints"  # which SageMaker keeps, and brings back, where a job asks for it
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
    """A line of the log that a metric definition of SageMaker's can read."""
    tqdm.write(f"epoch={epoch} val_accuracy={val_accuracy:.4f}", file=sys.stdout)  # on a line of its own, off the bar's


def _archive(parameters: JobParameters, trained: Path, data: Path, model: Path, seconds: float) -> None:
    """Gather the evidence for a trained network, and leave its archive."""
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
    """The archive in a directory, where it is never seen in part: SageMaker keeps the model of a stopped job too."""
    directory.mkdir(parents=True, exist_ok=True)
    part = Path(shutil.copyfile(archive, directory / f".{archive.name}.part"))
    return part.rename(directory / archive.name)


def _place_run(trained: Path, model: Path) -> Path:
    """The run's folder in a directory, where it is never seen in part, as `run`; its checkpoints are left out."""
    model.mkdir(parents=True, exist_ok=True)
    part = model / f".{RUN_FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(trained, part, ignore=shutil.ignore_patterns("checkpoints"))
    return part.rename(model / RUN_FOLDER)


def _clear(base: Path) -> None:
    """Remove what an earlier job has left that would be taken for this one's."""
    for leftover in (base / "output" / "failure", *(base / "model").glob("*.mar")):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(base / "model" / RUN_FOLDER, ignore_errors=True)


def _become_torchrun(job: Job) -> NoReturn:
    """Be replaced by torchrun, which runs this module once for every process."""
    environment = job.hosts.environment(job.processes_per_host) | os.environ  # what a user has set stays
    command = job.hosts.torchrun(job.processes_per_host, "driftserve_training.job")
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606


def _end_at_signals(end: Callable[[signal.Signals], None]) -> None:
    """Have a thread call `end` at the first stop signal, whatever the main thread is doing.

    A signal handler would wait until the main thread comes back from a collective of torch; and Lightning, while it
    fits, puts one of its own first, which waits for a broadcast (lightning 2.6, _sigterm_notifier_fn).
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while (number := os.read(reading, 1)[0]) not in _STOP_SIGNALS:
            pass  # torch's loader has a handler for SIGCHLD
        end(signal.Signals(number))

    threading.Thread(target=wait, daemon=True).start()


def _stop(base: Path, number: signal.Signals, processes: int) -> NoReturn:
    by_whom = "the job was stopped" if processes == 1 else "the job was stopped, or another process of it failed"
    _fail(base, f"ended by {number.name} before the model was written: {by_whom}")
    os._exit(128 + number)  # the main thread may be anywhere


def _fail(base: Path, reason: str) -> int:
    """Say why to the log and, unless another process of the job has said so before, to SageMaker; the exit status."""
    print(f"driftserve_training: {reason}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the exit status tells it as well
        (base / "output").mkdir(parents=True, exist_ok=True)
        with (base / "output" / "failure").open("x") as file:
            file.write(f"{reason}\n")
    return 1
