"""The base class of all records in an archive."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
