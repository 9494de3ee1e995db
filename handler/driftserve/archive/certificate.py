"""The drift certificate of an archive: the measured false alarm rate and detection power of its detector."""

from typing import Literal

from pydantic import Field

from driftserve.archive.record import Record

Share = Field(ge=0, le=1)
Kind = Literal["short", "full"]


class FalseAlarms(Record):
    """The share of windows without drift that raised an alarm (`rate`), with its upper 95 % bound.

    Each draw has `windows` windows of `size` images. `budget` is the rate that the drift policy allows. `worst` is the
    rate of the draw with the most alarms.
    """

    size: int = Field(ge=1)
    budget: float = Share
    windows: int = Field(ge=1)
    rate: float = Share
    upper_bound: float = Share
    worst: float = Share


class Power(Record):
    """The share of windows of corrupted images that raised an alarm.

    `power` is the share for windows, `long_power` for long windows; each is None if there are too few images for such a
    window. `accuracy` is the model's accuracy on the corrupted images; None if their labels are unknown.
    `estimated_accuracy` is the same accuracy, estimated from the model's confidence.
    """

    corruption: str
    severity: int = Field(ge=1, le=5)
    power: float | None = Field(ge=0, le=1)
    long_power: float | None = Field(ge=0, le=1)
    accuracy: float | None = Field(ge=0, le=1)
    estimated_accuracy: float = Share


class Certificate(Record):
    """The measured rates. The production code tests windows of images that are not in the reference.

    The measurement is repeated `draws` times. Each draw has its own random reference of `reference_images` images,
    fewer than in the archive's reference. `images` is the number of corrupted images. `source` says where all images
    come from. `false_alarms` has a row for windows and one for long windows, each only if there are enough images.
    """

    kind: Kind
    source: str
    images: int = Field(ge=0)
    reference_images: int = Field(ge=2)
    draws: int = Field(ge=1)
    seed: int
    false_alarms: tuple[FalseAlarms, ...]
    power: tuple[Power, ...]
