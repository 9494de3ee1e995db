"""The settings that differ between accounts and teams, read from `DRIFTSERVE_PIPELINE_*`."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from driftserve.text import fault_of_variable
from driftserve.validation import first_problem
from driftserve_pipeline.errors import PipelineError

PREFIX = "DRIFTSERVE_PIPELINE_"
_EXAMPLE_ACCOUNT = "111122223333"  # the example account of AWS's documentation

_INSTANCE = r"^(ml\.[a-z0-9-]+\.[a-z0-9]+|local|local_gpu)$"
_IMAGE = r"^[^\s@]{1,180}(@sha256:[0-9a-f]{64})?$"
_LOCATION = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?$"
_TAG = r"^[a-zA-Z0-9 _.:/=+@-]*$"


def _split(value: object) -> object:
    """Split the text of a variable at its commas; return other values unchanged."""
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """Parse the tags of a variable, `name=value,name=value`."""
    parts = _split(value)
    return dict(str(part).partition("=")[::2] for part in parts) if isinstance(parts, tuple) else parts


Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")]
Models = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=100)], ...], BeforeValidator(_split)
]
Ids = Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^[-0-9a-zA-Z]{1,32}$")], ...], BeforeValidator(_split)]
Tags = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=_TAG, min_length=1, max_length=128)],
        Annotated[str, StringConstraints(pattern=_TAG, max_length=256)],
    ],
    BeforeValidator(_pairs),
]


class PipelineSettings(BaseModel):
    """Names, locations and sizes. Values that can differ between executions are parameters of the pipeline instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    account: str = Field(default=_EXAMPLE_ACCOUNT, pattern=r"^\d{12}$")
    """AWS account ID. By default, the ARN of the role and the names of the bucket and the Docker images contain it."""

    region: str = Field(default="eu-central-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """AWS region."""

    pipeline_name: str = Field(default="driftserve", pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,80}$")
    """Name of the pipeline and its experiment, and the first part of its keys in the bucket."""

    model_name: Name = "scenes"
    """Name of the model. Its archive is `<name>.mar`."""

    model_package_group: Name = Field(default_factory=lambda values: values["model_name"])
    """Group in which the model's versions are registered; by default the name of the model."""

    role_arn: str = Field(
        default_factory=lambda values: f"arn:aws:iam::{values['account']}:role/driftserve-pipeline",
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$",
    )
    """Role of the pipeline and its jobs; by default the role `driftserve-pipeline` of the account."""

    bucket: str = Field(
        default_factory=lambda values: f"driftserve-{values['account']}-{values['region']}",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    """Bucket for the outputs of executions; by default `driftserve-<account>-<region>`."""

    training_image: str = Field(
        default_factory=lambda values: f"{_repository(values)}:training", pattern=_IMAGE, validate_default=True
    )
    """Docker image of every step. Name it by digest (`...@sha256:...`), so that the step cache notices a new build."""

    serving_image: str = Field(
        default_factory=lambda values: f"{_repository(values)}:serving", pattern=_IMAGE, validate_default=True
    )
    """Docker image that serves a registered version."""

    processing_instance_type: str = Field(default="ml.m5.2xlarge", pattern=_INSTANCE)
    """Instance type of the processing steps Fetch, Preprocess and Evaluate."""

    processing_volume_gb: int = Field(default=50, ge=1, le=16384)
    """Disk size of a processing instance, in GB."""

    processing_minutes: int = Field(default=180, ge=1, le=7200)
    """Time limit of a processing step, in minutes."""

    training_volume_gb: int = Field(default=50, ge=1, le=16384)
    """Disk size of a training instance, in GB."""

    training_minutes: int = Field(default=240, ge=1, le=40320)
    """Time limit of training, in minutes."""

    waiting_minutes: int = Field(default=480, ge=1, le=40320)
    """Time limit of training plus waiting for spot capacity, in minutes."""

    spot: bool = True
    """Whether to train on spot capacity. After an interruption, training resumes from its last checkpoint."""

    weights: str | None = Field(default=None, pattern=_LOCATION)
    """S3 folder of timm weights, each with its record. If not set, the network's own weights are downloaded."""

    pretrained: bool = True
    """Whether networks start from timm's weights. If false, they start from random weights, without a download."""

    cache_days: int = Field(default=30, ge=0, le=365)
    """Number of days for which a step reuses its result, if Docker image, arguments and inputs are the same; 0: off."""

    robustness_images: int = Field(default=240, ge=0)
    """Number of test images to measure the accuracy under corruption; 0: do not measure it."""

    explained_images: int = Field(default=12, ge=0)
    """Number of test images whose predictions are explained; 0: none."""

    certificate: Literal["short", "full"] = "short"
    """Extent of the drift certificate: `short` or `full`."""

    tuning: bool = False
    """Whether a search chooses the model, optimizer and learning rate. If false, parameters set them."""

    tuning_models: Models = Field(default=("mobilenetv2_035", "mobilenetv2_100"), min_length=1, max_length=30)
    """timm models that the search tries."""

    tuning_jobs: int = Field(default=12, ge=1, le=500)
    """Number of trainings in the search."""

    tuning_parallel_jobs: int = Field(default=3, ge=1, le=100)
    """Number of trainings at the same time. With fewer, each one learns more from earlier results."""

    subnets: Ids = Field(default=(), max_length=16)
    """Subnets of the jobs, with access to S3. If empty, the jobs use SageMaker's own network."""

    security_groups: Ids = Field(default=(), max_length=5)
    """Security groups of the jobs. Set them together with `subnets`."""

    kms_key: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9:/_-]{1,2048}$")
    """KMS key for the jobs' outputs in S3 and for the disks of processing jobs. If not set, S3 uses its own key."""

    tags: Tags = Field(default={"project": "driftserve"}, max_length=40)
    """Tags of the pipeline and its jobs."""

    @model_validator(mode="after")
    def _agree(self) -> "PipelineSettings":
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("expected subnets and security_groups together, got only one of them; set both")
        if self.spot and self.waiting_minutes < self.training_minutes:
            raise ValueError(
                "expected waiting_minutes of at least training_minutes, because waiting_minutes include the training"
            )
        if self.tuning_parallel_jobs > self.tuning_jobs:
            raise ValueError("expected tuning_parallel_jobs of at most tuning_jobs")
        return self


def read_settings(environment: Mapping[str, str]) -> PipelineSettings:
    """Read the settings from an environment, and ignore variables without our prefix.

    Raises:
        PipelineError: a variable with our prefix is not a setting, or its value is empty, out of bounds or not UTF-8.
    """
    texts = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    for name, value in texts.items():
        if fault := fault_of_variable(value):
            raise PipelineError(f"{PREFIX}{name.upper()}: {fault}")
    try:
        return PipelineSettings.model_validate(texts)
    except ValidationError as error:
        problem = first_problem(error)
        if not problem.place:  # a conflict between settings
            raise PipelineError(f"{PREFIX}*: {problem.reason.removeprefix('Value error, ')}") from error
        name = problem.place.partition(".")[0]  # for a list or the tags, a position follows the dot
        raise PipelineError(f"{PREFIX}{name.upper()}: {problem.reason}, got {problem.got}") from error


def to_variables(settings: PipelineSettings) -> dict[str, str]:
    """Return the variables from which `read_settings` reads the same settings."""
    chosen = settings.model_dump(mode="json", include=settings.model_fields_set)
    texts = {name: _to_text(value) for name, value in chosen.items() if value is not None}
    return {f"{PREFIX}{name.upper()}": text for name, text in texts.items() if text}  # an empty list is a default


def _to_text(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={part}" for name, part in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _repository(values: Mapping[str, object]) -> str:
    return f"{values['account']}.dkr.ecr.{values['region']}.amazonaws.com/driftserve"
