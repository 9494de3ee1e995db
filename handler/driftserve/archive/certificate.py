"""The drift certificate of an archive: how often its detector alarms without drift, and what it sees."""

from typing import Literal

from pydantic import Field

from driftserve.archive.record import Record

Share = Field(ge=0, le=1)
Kind = Literal["short", "full"]


class FalseAlarms(Record):
    """The share of calm windows that raised an alarm, and its upper 95 % bound over the draws.

    `windows` were drawn in each draw; `worst` is the draw with most alarms.
    """

    size: int = Field(ge=1)
    budget: float = Share
    windows: int = Field(ge=1)
    rate: float = Share
    upper_bound: float = Share
    worst: float = Share


class Power(Record):
    """The share of windows of corrupted images that raised an alarm.

    `long_power` is that of long windows; None stands where there are too few images for one. `accuracy` is the model's
    on the corrupted images, None without labels; `estimated_accuracy` what confidence says of it.
    """

    corruption: str
    severity: int = Field(ge=1, le=5)
    power: float | None = Field(ge=0, le=1)
    long_power: float | None = Field(ge=0, le=1)
    accuracy: float | None = Field(ge=0, le=1)
    estimated_accuracy: float = Share


class Certificate(Record):
    """What was measured with the production code, on images that are not in the reference that they are held against.

    `images` were corrupted; `source` says where they, and the reference of each of the `draws`, come from:
    `reference_images` a draw, fewer than the archive's own. `false_alarms` has a row for windows, and one for
    long windows, where there are images enough for them.
    """

    kind: Kind
    source: str
    images: int = Field(ge=0)
    reference_images: int = Field(ge=2)
    draws: int = Field(ge=1)
    seed: int
    false_alarms: tuple[FalseAlarms, ...]
    power: tuple[Power, ...]
