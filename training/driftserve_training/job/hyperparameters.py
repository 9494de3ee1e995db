"""What a training job may be told: `hyperparameters.json`, every value a string."""

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

# What the SDKs, and SageMaker's tuner, put beside a user's own; none of it is meant for the training code.
_PLATFORM_PREFIX = "sagemaker_"
_TUNER_KEY = "_tuning_objective_metric"


class JobParameters(BaseModel):
    """What a job is told beside the parameters of its training run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ModelName = "scenes"
    """The model's name; the archive is `<name>.mar`."""

    version: ModelVersion = "1"
    """The model's version."""

    product: Literal["archive", "run"] = "archive"
    """What the job leaves: the archive with its evidence; or the training run, for another step to evaluate."""

    revision: str = Field(default="unknown", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/+-]*$", max_length=64)
    """Of the code that trains, for the archive's provenance."""

    certificate: Literal["short", "full"] = "short"
    """Extent of the drift certificate."""

    robustness_images: int = Field(default=240, ge=0)
    """Test images of which the accuracy under 75 corruptions is measured; 0: it is not."""

    explained_images: int = Field(default=12, ge=0)
    """Test images whose answers are explained; 0: none."""

    processes_per_host: int | None = Field(default=None, ge=1)
    """Processes that train on each host; by default one a GPU, or one."""


@dataclass(frozen=True)
class Hyperparameters:
    """The choices of a job: those of its training run, as they were given, and the others."""

    job: JobParameters
    training: Mapping[str, object]

    def to_training(self, data: Path, output: Path, weights: Path | None) -> TrainingConfiguration:
        """The configuration of the job's training run, its folders and weights those of the platform.

        Raises:
            DataError: a value is out of bounds; one line.
        """
        folders: dict[str, object] = {"data": data, "output": output}
        if weights is not None:
            folders["weights"] = weights
        environment = from_environment(os.environ)
        if misplaced := [name for name in environment if name in LOCATION_FIELDS]:
            raise DataError(
                f"{PREFIX}{misplaced[0].upper()}: expected folders as channels, got a variable; leave it out"
            )
        return to_configuration(folders, self.training, environment)


# Where things lie comes as channels.
TRAINING_NAMES = tuple(name for name in TrainingConfiguration.model_fields if name not in LOCATION_FIELDS)
NAMES = (*TRAINING_NAMES, *JobParameters.model_fields)


def read_hyperparameters(path: Path) -> Hyperparameters:
    """The hyperparameters of a file; the defaults where there is none.

    Raises:
        DataError: one is unknown or given twice, or its value is out of bounds; one line.
    """
    parameters = _to_parameters(read_platform_file(path, dict[str, object], {}), path)
    training = {name: value for name, value in parameters.items() if name in TRAINING_NAMES}
    try:
        job = JobParameters.model_validate({name: value for name, value in parameters.items() if name not in training})
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error
    hyperparameters = Hyperparameters(job, training)
    try:
        hyperparameters.to_training(Path(), Path(), None)  # a wrong value is found before anything is read
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return hyperparameters


def _to_parameters(hyperparameters: Mapping[str, object], path: Path) -> dict[str, object]:
    """The platform's keys left out, ours as Python spells them."""
    parameters: dict[str, object] = {}
    for key, value in hyperparameters.items():
        if key.startswith(_PLATFORM_PREFIX) or key == _TUNER_KEY:
            continue
        name = key.replace("-", "_")
        if name not in NAMES:
            raise DataError(
                f"{path}: expected hyperparameters out of {', '.join(NAMES)}, got {key[:80]!r}; leave it out"
            )
        if name in parameters:
            raise DataError(f"{path}: expected {name} once, got it as {name} and {name.replace('_', '-')}; give one")
        parameters[name] = _unquote(value)
    return parameters


def _unquote(value: object) -> object:
    r"""The string inside, where an SDK has written a string as JSON.

    >>> _unquote('"mobilenetv2_100"'), _unquote("mobilenetv2_100"), _unquote('"')
    ('mobilenetv2_100', 'mobilenetv2_100', '"')
    """
    if not (isinstance(value, str) and value.startswith('"')):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
