"""What differs from one account and team to another: read from `DRIFTSERVE_PIPELINE_*`, or from a YAML file's keys."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from driftserve.errors import PipelineError

PREFIX = "DRIFTSERVE_PIPELINE_"
_EXAMPLE_ACCOUNT = "111122223333"  # AWS's own, in its documentation


class PipelineSettings(BaseModel):
    """Names, places and sizes; what a single run may be told is a parameter of the pipeline instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    account: str = Field(default=_EXAMPLE_ACCOUNT, pattern=r"^\d{12}$")
    """The account; role, bucket and images are named after it where they are not given."""

    region: str = Field(default="eu-central-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """The region."""

    pipeline_name: str = Field(default="driftserve", pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,80}$")
    """Of the pipeline and its experiment, and the first part of its keys in the bucket."""

    model_name: str = Field(default="scenes", pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")
    """Of the model, and of the model package group that its versions are registered in."""


def read_settings(environment: Mapping[str, str]) -> PipelineSettings:
    """The settings in an environment; every other variable is none of ours.

    Raises:
        PipelineError: a variable with our prefix is no setting, or its value is out of bounds; one line.
    """
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return PipelineSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise PipelineError(f"{PREFIX}{name.upper()}: {first['msg']}, got {str(first['input'])[:80]!r}") from error
