"""The settings of the server, read once from `DRIFTSERVE_*` variables and the variables that SageMaker sets."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from driftserve.archive.contract import Sha256
from driftserve.errors import SettingsError
from driftserve.host.cgroup import available_processors
from driftserve.text import fault_of_variable
from driftserve.validation import first_problem

PREFIX = "DRIFTSERVE_"
# Variables with our prefix that are not settings. DRIFTSERVE_DATA is the folder of images for the tests.
NOT_SETTINGS = frozenset({"DRIFTSERVE_DATA"})

# The variables that SageMaker and its inference toolkits set, https://github.com/aws/sagemaker-inference-toolkit
# (parameters.py). Our own variable overrides them.
SAGEMAKER_NAMES = {
    "port": "SAGEMAKER_BIND_TO_PORT",
    "safe_port_range": "SAGEMAKER_SAFE_PORT_RANGE",
    "workers": "SAGEMAKER_MODEL_SERVER_WORKERS",
    "response_timeout_seconds": "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "multi_model": "SAGEMAKER_MULTI_MODEL",
}

SinkName = Literal["cloudwatch", "emf", "log"]
ServerName = Literal["torchserve", "mms"]


class Settings(BaseModel):
    """All settings of the server. The variable of a field is `DRIFTSERVE_` and the field's name in upper case."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    endpoint_name: str = Field(default="local", min_length=1, max_length=255)
    """Value of the dimension `EndpointName` of every metric."""

    variant_name: str = Field(default="AllTraffic", min_length=1, max_length=255)
    """Value of the dimension `VariantName` of every metric."""

    sinks: tuple[SinkName, ...] = ("log",)
    """Sinks for the metrics, separated by commas: `log`, `cloudwatch` (PutMetricData), `emf` (JSON lines on stdout).
    `none`: no metrics. The default on Lambda is `emf`."""

    cloudwatch_namespace: str = Field(default="driftserve", min_length=1, max_length=255)
    """Namespace of the metrics in CloudWatch."""

    metrics_period_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Interval at which metrics are aggregated and sent."""

    host: str = "127.0.0.1"
    """IPv4 address or name that the server listens on; a container needs `0.0.0.0`, which means all addresses."""

    port: int = Field(default=8080, ge=1, le=65535)
    """Port that the server listens on; `--port` overrides it. Also set by `SAGEMAKER_BIND_TO_PORT`."""

    safe_port_range: str | None = Field(default=None, pattern=r"^\d{1,5}-\d{1,5}$")
    """Ports that the server may use inside the container, `FIRST-LAST`. TorchServe needs two of them. If not set, any
    free ports are used. Also set by `SAGEMAKER_SAFE_PORT_RANGE`, on an endpoint with several containers."""

    server: ServerName = "torchserve"
    """Model server to use, `torchserve` or `mms` (Multi Model Server); `--server` overrides it."""

    workers: int = Field(default_factory=available_processors, ge=1, le=256)
    """Number of worker processes; each has one thread and its own copy of the model. The default is one worker per
    processor of the container, and one worker per model in multi-model mode. Also set by
    `SAGEMAKER_MODEL_SERVER_WORKERS`."""

    response_timeout_seconds: int = Field(default=60, ge=1, le=3600)
    """Timeout of a worker for one batch; after it, the server replaces the worker. SageMaker's own limit for an
    invocation is 60 s. Also set by `SAGEMAKER_MODEL_SERVER_TIMEOUT`."""

    multi_model: bool = False
    """Load and unload archives on request, as a multi-model endpoint does. Also set by `SAGEMAKER_MULTI_MODEL`."""

    models_dir: Path = Path("/opt/ml/models")
    """Directory with the archives of a multi-model endpoint; archives elsewhere are rejected."""

    batch_size: int = Field(default=1, ge=1, le=256)
    """Most requests in one batch for a worker. In multi-model mode it is always 1."""

    max_batch_delay_ms: int = Field(default=5, ge=1, le=10_000)
    """How long the server waits for a batch to fill, if DRIFTSERVE_BATCH_SIZE is over 1."""

    max_request_bytes: int = Field(default=25 * 1024 * 1024, ge=1024, le=2**31 - 1)
    """Largest request body that is accepted, also when unpacked; SageMaker's limit for real-time endpoints is 25 MB."""

    max_image_pixels: int = Field(default=65_000_000, ge=1, le=178_956_970)  # Pillow's own limit
    """Most pixels (width times height) that an image may have."""

    max_image_side: int = Field(default=16_384, ge=1)
    """Largest width or height that an image may have, in pixels."""

    max_image_frames: int = Field(default=1_000, ge=1)
    """Most frames or pages that an image may have; only the first is used."""

    max_instances: int = Field(default=64, ge=1, le=10_000)
    """Most instances in one JSON request."""

    max_decode_seconds: float = Field(default=5.0, ge=0.1, le=60.0)
    """Processor time to unpack and decode the images of a batch; its requests share it. After it no image is started; a
    started one finishes."""

    model_dir: Path = Path("/opt/ml/model")
    """Where a Lambda function, and `serve` without an argument, find the archive."""

    archive_sha256: tuple[Sha256, ...] = ()
    """Content digests, separated by commas, of the archives that may be served. If not set, all may be served."""

    start_timeout_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Timeout of the verification, and again of the server's first correct response to a golden image."""

    probe_interval_seconds: float = Field(default=30.0, ge=0.5, le=3600.0)
    """Interval between probes: a golden image is sent, and the response is checked."""

    probe_timeout_seconds: float = Field(default=20.0, ge=0.5, le=3600.0)
    """Timeout of a probe. After three failed probes in a row `serve` exits, so three timeouts together must be longer
    than the longest request; SageMaker allows 60 s."""

    drain_timeout_seconds: float = Field(default=15.0, ge=0.0, le=3600.0)
    """How long running requests may take after SIGTERM; SageMaker kills a container 30 s after SIGTERM."""

    window_size: int | None = Field(default=None, ge=20, le=100_000)
    """Observations in a drift window. Overrides the archive's value; the archive's certificate then does not apply."""

    windows_between_false_alarms: int | None = Field(default=None, ge=10)
    """False-alarm budget: one alarm in this many windows without drift. Overrides the archive's value; the archive's
    certificate then does not apply."""

    record_dir: Path | None = None
    """Directory for recorded observations (no pixels), for `driftserve replay`. If not set, nothing is recorded."""

    record_max_bytes: int = Field(default=100_000_000, ge=100_000)
    """Most bytes of recorded observations that are kept, and the same again for reports; the oldest are deleted."""

    runtime_dir: Path | None = None
    """Directory for the server's sockets, locks and unpacked model. If not set, `serve` creates one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of the log lines that are written."""

    @property
    def own_address(self) -> str:
        """Address at which this machine itself reaches the server."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - read, not bound

    @field_validator("sinks", "archive_sha256", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("archive_sha256")
    @classmethod
    def _check_not_empty(cls, digests: tuple[Sha256, ...]) -> tuple[Sha256, ...]:
        if not digests:  # an empty variable, as from an unfilled template, must not allow every archive
            raise ValueError("expected at least one digest; unset the variable to allow any archive")
        return digests

    @field_validator("sinks", mode="before")
    @classmethod
    def _check_some(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip(" ,"):
            raise ValueError("expected at least one sink, or `none` to deliver no metrics")
        return () if value == "none" else value

    @field_validator("host")
    @classmethod
    def _check_not_ipv6(cls, host: str) -> str:
        if ":" in host:
            raise ValueError("expected an IPv4 address or a name, because IPv6 is not supported")
        return host

    @field_validator("safe_port_range")
    @classmethod
    def _check_port_range(cls, ports: str | None) -> str | None:
        if ports is not None:
            first, last = map(int, ports.split("-"))
            if not 1 <= first <= last <= 65535:
                raise ValueError("expected FIRST-LAST, with 1 <= FIRST <= LAST <= 65535")
        return ports

    @field_validator("sinks")
    @classmethod
    def _check_distinct(cls, sinks: tuple[SinkName, ...]) -> tuple[SinkName, ...]:
        if len(set(sinks)) != len(sinks):
            raise ValueError("expected each sink once")
        return sinks

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings from environment variables.

        Raises:
            SettingsError: a variable with our prefix is not a setting, or a value is invalid.
        """
        known = {PREFIX + field.upper(): field for field in cls.model_fields}
        ours = {name for name in environment if name.startswith(PREFIX)}
        if stray := sorted(ours - set(known) - NOT_SETTINGS):
            raise SettingsError(f"{', '.join(stray)}: no such setting; expected one of {', '.join(known)}")
        names = {field: name for field, name in SAGEMAKER_NAMES.items() if name in environment}
        names |= {field: name for name, field in known.items() if name in environment}
        for name in names.values():
            if fault := fault_of_variable(environment[name]):
                raise SettingsError(f"{name}: {fault}")
        try:
            return cls.model_validate({field: environment[name] for field, name in names.items()})
        except ValidationError as error:
            problem = first_problem(error)
            name = names[problem.place.partition(".")[0]]  # a tuple's place is `field.index`
            raise SettingsError(f"{name}: {problem.reason}, got {problem.got}") from error

    def to_environment(self) -> dict[str, str]:
        """Return the variables for a child process whose `from_environment` returns these settings."""
        values = {field: getattr(self, field) for field in self.model_fields_set}
        return {
            PREFIX + field.upper(): ",".join(value) or "none" if isinstance(value, tuple) else str(value)
            for field, value in values.items()
            if value is not None
        }
