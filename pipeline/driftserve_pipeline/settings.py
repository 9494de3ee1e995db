"""What differs from one account and team to another: read from `DRIFTSERVE_PIPELINE_*`."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from driftserve.validation import first_problem
from driftserve_pipeline.errors import PipelineError

PREFIX = "DRIFTSERVE_PIPELINE_"
_EXAMPLE_ACCOUNT = "111122223333"  # AWS's own, in its documentation

_INSTANCE = r"^(ml\.[a-z0-9-]+\.[a-z0-9]+|local|local_gpu)$"
_IMAGE = r"^[^\s@]{1,180}(@sha256:[0-9a-f]{64})?$"
_LOCATION = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?$"
_TAG = r"^[a-zA-Z0-9 _.:/=+@-]*$"


def _split(value: object) -> object:
    """The parts of a variable, separated by commas."""
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """The tags of a variable, `name=value,name=value`."""
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
    """Names, places and sizes; what a single run may be told is a parameter of the pipeline instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    account: str = Field(default=_EXAMPLE_ACCOUNT, pattern=r"^\d{12}$")
    """The account; role, bucket and images are named after it where they are not given."""

    region: str = Field(default="eu-central-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """The region."""

    pipeline_name: str = Field(default="driftserve", pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,80}$")
    """Of the pipeline and its experiment, and the first part of its keys in the bucket."""

    model_name: Name = "scenes"
    """Of the model; its archive is `<name>.mar`."""

    model_package_group: Name = Field(default_factory=lambda values: values["model_name"])
    """Where the model's versions are registered; by default named as the model."""

    role_arn: str = Field(
        default_factory=lambda values: f"arn:aws:iam::{values['account']}:role/driftserve-pipeline",
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$",
    )
    """The role of the pipeline and its jobs; by default `driftserve-pipeline` of the account."""

    bucket: str = Field(
        default_factory=lambda values: f"driftserve-{values['account']}-{values['region']}",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    """Where executions leave what they make; by default `driftserve-<account>-<region>`."""

    training_image: str = Field(
        default_factory=lambda values: f"{_repository(values)}:training", pattern=_IMAGE, validate_default=True
    )
    """The image of every step; named by digest (`...@sha256:...`), a new build is never taken for the cached one."""

    serving_image: str = Field(
        default_factory=lambda values: f"{_repository(values)}:serving", pattern=_IMAGE, validate_default=True
    )
    """The image that a registered version is served by."""

    processing_instance_type: str = Field(default="ml.m5.2xlarge", pattern=_INSTANCE)
    """The machine of Fetch, Preprocess and Evaluate."""

    processing_volume_gb: int = Field(default=50, ge=1, le=16384)
    """Its disk."""

    processing_minutes: int = Field(default=180, ge=1, le=7200)
    """After which such a step is ended."""

    training_volume_gb: int = Field(default=50, ge=1, le=16384)
    """The disk of each machine that trains."""

    training_minutes: int = Field(default=240, ge=1, le=40320)
    """Of training, after which it is ended."""

    waiting_minutes: int = Field(default=480, ge=1, le=40320)
    """Of training and of waiting for spot capacity together."""

    spot: bool = True
    """Whether training takes spot capacity, with checkpoints to go on from when it is taken away."""

    weights: str | None = Field(default=None, pattern=_LOCATION)
    """Folder of timm weights, each with its record; without it the network's own are downloaded."""

    pretrained: bool = True
    """Whether networks start from weights of timm's; else from random ones, and nothing is downloaded."""

    cache_days: int = Field(default=30, ge=0, le=365)
    """How long a step's result is taken again where nothing that it depends on has changed; 0: never."""

    robustness_images: int = Field(default=240, ge=0)
    """Test images of which the accuracy under corruption is measured; 0: none."""

    explained_images: int = Field(default=12, ge=0)
    """Test images whose answers are explained; 0: none."""

    certificate: Literal["short", "full"] = "short"
    """Extent of the drift certificate."""

    tuning: bool = False
    """Whether a search chooses model, optimizer and learning rate, in place of the parameters of these names."""

    tuning_models: Models = Field(default=("mobilenetv2_035", "mobilenetv2_100"), min_length=1, max_length=30)
    """The timm models of the search."""

    tuning_jobs: int = Field(default=12, ge=1, le=500)
    """Trainings of the search."""

    tuning_parallel_jobs: int = Field(default=3, ge=1, le=100)
    """Of them at once; fewer learn more from each other."""

    subnets: Ids = Field(default=(), max_length=16)
    """Of the jobs' network, with a way to S3; none: SageMaker's own network."""

    security_groups: Ids = Field(default=(), max_length=5)
    """Of the jobs' network; given with `subnets`."""

    kms_key: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9:/_-]{1,2048}$")
    """The key for what the jobs leave in S3 and on the disks of processing; without it S3's own."""

    tags: Tags = Field(default={"project": "driftserve"}, max_length=40)
    """Of the pipeline and its jobs."""

    @model_validator(mode="after")
    def _agree(self) -> "PipelineSettings":
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("expected subnets and security_groups together, got one of them; give both")
        if self.spot and self.waiting_minutes < self.training_minutes:
            raise ValueError("expected waiting_minutes of at least training_minutes, which they contain")
        if self.tuning_parallel_jobs > self.tuning_jobs:
            raise ValueError("expected tuning_parallel_jobs of at most tuning_jobs")
        return self


def read_settings(environment: Mapping[str, str]) -> PipelineSettings:
    """The settings in an environment; every other variable is none of ours.

    Raises:
        PipelineError: a variable with our prefix is no setting, or its value is out of bounds; one line.
    """
    texts = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return PipelineSettings.model_validate(texts)
    except ValidationError as error:
        problem = first_problem(error)
        if not problem.place:  # settings that do not go together
            raise PipelineError(f"{PREFIX}*: {problem.reason.removeprefix('Value error, ')}") from error
        name = problem.place.partition(".")[0]  # of a list or the tags, the place in it follows
        raise PipelineError(f"{PREFIX}{name.upper()}: {problem.reason}, got {problem.got}") from error


def to_variables(settings: PipelineSettings) -> dict[str, str]:
    """The variables from which `read_settings` makes the same settings."""
    chosen = settings.model_dump(mode="json", include=settings.model_fields_set)
    return {f"{PREFIX}{name.upper()}": _to_text(value) for name, value in chosen.items() if value is not None}


def _to_text(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={part}" for name, part in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _repository(values: Mapping[str, object]) -> str:
    return f"{values['account']}.dkr.ecr.{values['region']}.amazonaws.com/driftserve"
