"""The settings of the serving side, read once from `DRIFTSERVE_*` variables and those that SageMaker sets."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from driftserve.archive.contract import Sha256
from driftserve.errors import SettingsError
from driftserve.host.cgroup import available_processors
from driftserve.validation import first_problem

PREFIX = "DRIFTSERVE_"
# Variables with our prefix that are no settings: where the tests find their images.
NOT_SETTINGS = frozenset({"DRIFTSERVE_DATA"})

# What SageMaker and its inference toolkits set, https://github.com/aws/sagemaker-inference-toolkit (parameters.py);
# our own variable wins.
SAGEMAKER_NAMES = {
    "port": "SAGEMAKER_BIND_TO_PORT",
    "workers": "SAGEMAKER_MODEL_SERVER_WORKERS",
    "response_timeout_seconds": "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "multi_model": "SAGEMAKER_MULTI_MODEL",
}

SinkName = Literal["cloudwatch", "emf", "log"]
ServerName = Literal["torchserve", "mms"]


class Settings(BaseModel):
    """What an operator can choose; an environment variable is the field's name after `DRIFTSERVE_`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    endpoint_name: str = Field(default="local", min_length=1, max_length=255)
    """The dimension `EndpointName` of every metric."""

    variant_name: str = Field(default="AllTraffic", min_length=1, max_length=255)
    """The dimension `VariantName` of every metric."""

    sinks: tuple[SinkName, ...] = ("log",)
    """Where metrics go, separated by commas: `log`, `cloudwatch` (PutMetricData), `emf` (JSON lines on stdout).
    On Lambda it is `emf` when not set."""

    cloudwatch_namespace: str = Field(default="driftserve", min_length=1, max_length=255)
    """The namespace of the metrics in CloudWatch."""

    metrics_period_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    """How often metrics are summed up and sent."""

    host: str = "127.0.0.1"
    """The address that the server listens on; `0.0.0.0` for all, which a container needs."""

    port: int = Field(default=8080, ge=1, le=65535)
    """The port that the server listens on, where the command line names none; `SAGEMAKER_BIND_TO_PORT` likewise."""

    server: ServerName = "torchserve"
    """Which model server serves, where the command line names none: `torchserve` or `mms`."""

    workers: int = Field(default_factory=available_processors, ge=1, le=256)
    """Worker processes of the server, each with one thread and a model of its own; `SAGEMAKER_MODEL_SERVER_WORKERS`
    likewise. By default one a processor that the container may use; in multi-model mode one a model."""

    response_timeout_seconds: int = Field(default=60, ge=1, le=3600)
    """How long a worker may take for a batch before the server replaces it; `SAGEMAKER_MODEL_SERVER_TIMEOUT` likewise.
    SageMaker gives an invocation 60 s."""

    multi_model: bool = False
    """Whether archives are loaded and unloaded by requests, as a multi-model endpoint does; `SAGEMAKER_MULTI_MODEL`
    likewise."""

    models_dir: Path = Path("/opt/ml/models")
    """Where the archives of a multi-model endpoint lie; none is loaded from elsewhere."""

    batch_size: int = Field(default=1, ge=1, le=256)
    """Most requests that the server hands to a worker at once."""

    max_batch_delay_ms: int = Field(default=5, ge=1, le=10_000)
    """How long the server waits for a batch to fill, where batch_size is over 1."""

    max_request_bytes: int = Field(default=25 * 1024 * 1024, ge=1024, le=2**31 - 1)
    """Longest body that is taken; SageMaker's own limit for real-time endpoints is 25 MB."""

    max_image_pixels: int = Field(default=50_000_000, ge=1, le=178_956_970)  # Pillow's own limit
    """Most pixels (width times height) of an image that is decoded."""

    max_image_side: int = Field(default=16_384, ge=1)
    """Longest width or height of an image that is decoded, in pixels."""

    max_image_frames: int = Field(default=1_000, ge=1)
    """Most frames or pages of an image; only the first is looked at."""

    max_instances: int = Field(default=64, ge=1, le=10_000)
    """Most instances of one JSON request."""

    max_decode_seconds: float = Field(default=5.0, ge=0.1, le=60.0)
    """Processor time after which no further instance of a JSON request is begun; one under way is finished."""

    model_dir: Path = Path("/opt/ml/model")
    """Where the archive lies that `serve` takes without an argument, and that a Lambda function serves."""

    archive_sha256: tuple[Sha256, ...] = ()
    """Content digests of the archives that may be served, separated by commas; any when not set."""

    start_timeout_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    """How long the verification, and then the server's first right answer to a golden image, may each take."""

    probe_interval_seconds: float = Field(default=30.0, ge=0.5, le=3600.0)
    """How often a golden image is sent to see that the server still answers rightly."""

    probe_timeout_seconds: float = Field(default=20.0, ge=0.5, le=3600.0)
    """How long a probe may take. After three that fail in a row the server is given up: give the three together more
    time than the longest request takes; SageMaker allows 60 s."""

    drain_timeout_seconds: float = Field(default=15.0, ge=0.0, le=3600.0)
    """How long requests may take to end after SIGTERM; SageMaker kills a container 30 s after it."""

    window_size: int | None = Field(default=None, ge=20, le=100_000)
    """Observations in a drift window, instead of the archive's; its certificate does not cover that."""

    windows_between_false_alarms: int | None = Field(default=None, ge=10)
    """The budget of false alarms, instead of the archive's; its certificate does not cover that."""

    record_dir: Path | None = None
    """Where observations are recorded, for `driftserve replay`; no pixels. Nothing is recorded when not set."""

    record_max_bytes: int = Field(default=100_000_000, ge=100_000)
    """Most bytes of observations that are kept there, and as many of reports; the oldest go first."""

    runtime_dir: Path | None = None
    """Where the processes of a server meet, with room for its unpacked model; `serve` makes one when it is not set."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least serious log line that is written."""

    @property
    def own_address(self) -> str:
        """Where this machine itself reaches the server."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - read, not bound

    @field_validator("sinks", "archive_sha256", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("archive_sha256")
    @classmethod
    def _allow_some(cls, digests: tuple[Sha256, ...]) -> tuple[Sha256, ...]:
        if not digests:  # a template's variable that was not filled in may not open the door
            raise ValueError("expected at least one digest; unset the variable to allow any archive")
        return digests

    @field_validator("sinks")
    @classmethod
    def _name_each_once(cls, sinks: tuple[SinkName, ...]) -> tuple[SinkName, ...]:
        if len(set(sinks)) != len(sinks):
            raise ValueError("expected each sink once")
        return sinks

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment gives.

        Raises:
            SettingsError: a variable with our prefix is no setting, or a value is not accepted.
        """
        known = {PREFIX + field.upper(): field for field in cls.model_fields}
        ours = {name for name in environment if name.startswith(PREFIX)}
        if stray := sorted(ours - set(known) - NOT_SETTINGS):
            raise SettingsError(f"{', '.join(stray)}: no such setting; expected one of {', '.join(known)}")
        names = {field: name for field, name in SAGEMAKER_NAMES.items() if name in environment}
        names |= {field: name for name, field in known.items() if name in environment}
        try:
            return cls.model_validate({field: environment[name] for field, name in names.items()})
        except ValidationError as error:
            problem = first_problem(error)
            name = names[problem.place.partition(".")[0]]  # a tuple's field is followed by the place in it
            raise SettingsError(f"{name}: {problem.reason}, got {problem.got}") from error

    def to_environment(self) -> dict[str, str]:
        """The variables, of what was set, that make `from_environment` of a child process give these settings."""
        values = {field: getattr(self, field) for field in self.model_fields_set}
        return {
            PREFIX + field.upper(): ",".join(value) if isinstance(value, tuple) else str(value)
            for field, value in values.items()
            if value is not None
        }
