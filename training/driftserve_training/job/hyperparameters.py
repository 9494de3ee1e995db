"""Hyperparameters of a training job, from `hyperparameters.json`, in which every value is a string."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from driftserve.archive.contract import ModelName, ModelVersion
from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.configuration import LOCATION_FIELDS, TrainingConfiguration
from driftserve_training.job.platform_file import read_platform_file
from driftserve_training.parameters import PREFIX, from_environment, to_configuration

# The SDKs and SageMaker's tuner add these keys; they are not for the training code.
_PLATFORM_PREFIX = "sagemaker_"
_TUNER_KEY = "_tuning_objective_metric"


class JobParameters(BaseModel):
    """Parameters of a job besides the parameters of its training run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ModelName = "scenes"
    """Name of the model; the archive is `<name>.mar`."""

    version: ModelVersion = "1"
    """Version of the model."""

    product: Literal["archive", "run"] = "archive"
    """Output of the job: `archive`, the archive with its model card; or `run`, the run for a later evaluation."""

    revision: str = Field(default="unknown", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/+-]*$", max_length=64)
    """Revision of the training code, for the provenance of the archive."""

    certificate: Literal["short", "full"] = "short"
    """Extent of the drift certificate."""

    robustness_images: int = Field(default=240, ge=0)
    """Number of test images to measure the accuracy under 75 corruptions on; 0 skips it."""

    explained_images: int = Field(default=12, ge=0)
    """Number of test images to explain; 0 skips it."""

    processes_per_host: int | None = Field(default=None, ge=1)
    """Number of training processes on each host. By default one per GPU, or one without a GPU."""


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a job: its own, checked; and those of its training run, as they were given."""

    job: JobParameters
    training: Mapping[str, object]

    def to_training(self, data: Path, output: Path, weights: Path | None) -> TrainingConfiguration:
        """Return the configuration of the training run, with the folders and weights of the platform.

        Raises:
            DataError: a value is out of bounds, or a variable sets a path. The message is one line.
        """
        folders: dict[str, object] = {"data": data, "output": output}
        if weights is not None:
            folders["weights"] = weights
        environment = from_environment(os.environ)
        if misplaced := [name for name in environment if name in LOCATION_FIELDS]:
            raise DataError(f"{PREFIX}{misplaced[0].upper()}: expected folders as channels, got a variable; remove it")
        return to_configuration(folders, self.training, environment)


# The hyperparameters of a training run, without the paths, which the channels set.
TRAINING_NAMES = tuple(name for name in TrainingConfiguration.model_fields if name not in LOCATION_FIELDS)
NAMES = (*TRAINING_NAMES, *JobParameters.model_fields)


def read_hyperparameters(path: Path) -> Hyperparameters:
    """Read hyperparameters from a file; without a file, return the defaults.

    Raises:
        DataError: a hyperparameter is unknown, given twice, or out of bounds. The message is one line.
    """
    parameters = _to_parameters(read_platform_file(path, dict[str, object], {}), path)
    training = {name: value for name, value in parameters.items() if name in TRAINING_NAMES}
    try:
        job = JobParameters.model_validate({name: value for name, value in parameters.items() if name not in training})
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error
    hyperparameters = Hyperparameters(job, training)
    try:
        hyperparameters.to_training(Path(), Path(), None)  # find wrong values before images are read
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return hyperparameters


def _to_parameters(hyperparameters: Mapping[str, object], path: Path) -> dict[str, object]:
    """Return the hyperparameters without the keys of the platform; spell our keys with `_`."""
    parameters: dict[str, object] = {}
    for key, value in hyperparameters.items():
        if key.startswith(_PLATFORM_PREFIX) or key == _TUNER_KEY:
            continue
        name = key.replace("-", "_")
        if name not in NAMES:
            raise DataError(
                f"{path}: unknown hyperparameter {key[:80]!r}, expected one of {', '.join(NAMES)}; remove it"
            )
        if name in parameters:
            raise DataError(f"{path}: expected {name} once, got it as {name} and {name.replace('_', '-')}; keep one")
        parameters[name] = _unquote(value)
    return parameters


def _unquote(value: object) -> object:
    r"""Decode a string that an SDK wrote as JSON; return other values unchanged.

    >>> _unquote('"mobilenetv2_100"'), _unquote("mobilenetv2_100"), _unquote('"')
    ('mobilenetv2_100', 'mobilenetv2_100', '"')
    """
    if not (isinstance(value, str) and value.startswith('"')):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
