"""What a training job may be told: `hyperparameters.json`, every value a string."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from driftserve.contract import ModelName, ModelVersion
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.platform_file import first_problem, read_platform_file

# What the SDKs, and SageMaker's tuner, put beside a user's own; none of it is meant for the training code.
_PLATFORMS_PREFIX = "sagemaker_"
_TUNERS_KEY = "_tuning_objective_metric"


class Hyperparameters(BaseModel):
    """The choices of a job, by the names of `TrainingConfiguration`, which also has their defaults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    model: str | None = Field(default=TrainingConfiguration.model, min_length=1)
    """timm's name for the network; by default that of the record in the channel `weights`."""

    pretrained: bool = TrainingConfiguration.pretrained
    """Whether timm downloads weights where the job has no channel `weights`."""

    image_size: int | None = Field(default=TrainingConfiguration.image_size, ge=1, le=2048)
    """Side of the network's input in pixels; by default the pretrained one's."""

    epochs: int = Field(default=TrainingConfiguration.epochs, ge=1)
    """Passes over the training images."""

    head_epochs: int = Field(default=TrainingConfiguration.head_epochs, ge=0)
    """Epochs in which a pretrained network's head learns alone."""

    batch_size: int = Field(default=TrainingConfiguration.batch_size, ge=1)
    """Images of a step in each process."""

    learning_rate: float = Field(default=TrainingConfiguration.learning_rate, gt=0)
    """The highest rate of the one-cycle schedule."""

    features_rate: float = Field(default=TrainingConfiguration.features_rate, ge=0)
    """The pretrained features' share of the learning rate."""

    weight_decay: float = Field(default=TrainingConfiguration.weight_decay, ge=0)
    """Of AdamW."""

    label_smoothing: float = Field(default=TrainingConfiguration.label_smoothing, ge=0, lt=1)
    """Of the cross-entropy."""

    loader_workers: int = Field(default=TrainingConfiguration.loader_workers, ge=0)
    """Processes that read images, for each process that trains; 0: none."""

    seed: int = Field(default=TrainingConfiguration.seed, ge=0, le=2**32 - 1)
    """Of the weights, the order and the augmentation."""

    name: ModelName = "scenes"
    """The model's name; the archive is `<name>.mar`."""

    version: ModelVersion = "1"
    """The model's version."""

    certificate: Literal["short", "full"] = "short"
    """Extent of the drift certificate."""

    processes_per_host: int | None = Field(default=None, ge=1)
    """Processes that train on each host; by default one a GPU, or one."""

    def to_training(self, data: Path, output: Path, weights: Path | None) -> TrainingConfiguration:
        """The configuration of the job's training run."""
        shared = {field.name for field in fields(TrainingConfiguration)} & set(type(self).model_fields)
        return TrainingConfiguration(data=data, output=output, weights=weights, **self.model_dump(include=shared))


def read_hyperparameters(path: Path) -> Hyperparameters:
    """The hyperparameters of a file; the defaults where there is none.

    Raises:
        DataError: one is unknown or given twice, or its value is out of bounds; one line.
    """
    given = read_platform_file(path, dict[str, object], {})
    try:
        return Hyperparameters.model_validate(_own(given, path))
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error


def _own(given: Mapping[str, object], path: Path) -> dict[str, object]:
    """The platform's keys left out, ours as Python spells them."""
    own: dict[str, object] = {}
    for key, value in given.items():
        if key.startswith(_PLATFORMS_PREFIX) or key == _TUNERS_KEY:
            continue
        name = key.replace("-", "_")
        if name not in Hyperparameters.model_fields:
            known = ", ".join(Hyperparameters.model_fields)
            raise DataError(f"{path}: expected hyperparameters out of {known}, got {key[:80]!r}; leave it out")
        if name in own:
            raise DataError(f"{path}: expected {name} once, got it as {name} and {name.replace('_', '-')}; give one")
        own[name] = _unquoted(value)
    return own


def _unquoted(value: object) -> object:
    r"""The string inside, where an SDK has written a string as JSON.

    >>> _unquoted('"mobilenetv2_100"'), _unquoted("mobilenetv2_100"), _unquoted('"')
    ('mobilenetv2_100', 'mobilenetv2_100', '"')
    """
    if not (isinstance(value, str) and value.startswith('"')):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
