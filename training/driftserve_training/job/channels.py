"""The input channels of a training job: folders that hold its images, and where given its weights.

The images come as one channel of any name that holds train/, val/ and test/, or as channels of these names.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from driftserve.errors import DataError
from driftserve_training.configuration import SPLITS, STREAM
from driftserve_training.dataset.location import gathered
from driftserve_training.job.platform_file import read_platform_file

_WEIGHTS = "weights"
_SPLIT_OF_CHANNEL = {split: split for split in (*SPLITS, STREAM)} | {"validation": "val"}


class _ChannelRecord(BaseModel):
    """What `inputdataconfig.json` says of a channel, as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    mode: str = Field(default="File", alias="TrainingInputMode")
    distribution: str = Field(default="FullyReplicated", alias="S3DistributionType")


@dataclass(frozen=True)
class Channels:
    """Where a job's images lie, by split or, as `None`, all splits in one folder; and its weights."""

    folders: Mapping[str | None, Path]
    weights: Path | None

    @contextmanager
    def data(self) -> Iterator[Path]:
        """A folder with train/, val/, test/ and, where given, stream/."""
        if None in self.folders:
            yield self.folders[None]
            return
        with gathered({str(split): folder for split, folder in self.folders.items()}) as folder:
            yield folder


def find_channels(folder: Path, record: Path) -> Channels:
    """The channels under a folder, which are those of `inputdataconfig.json` where there is one.

    Raises:
        DataError: a channel is missing, is none that a job takes, or is not here as a whole.
    """
    declared = read_platform_file(record, dict[str, _ChannelRecord], {})
    for name, channel in declared.items():
        if channel.mode == "Pipe":
            raise DataError(f"channel {name}: expected the input mode File or FastFile, got Pipe; choose one of these")
        if channel.distribution != "FullyReplicated":
            raise DataError(
                f"channel {name}: expected FullyReplicated, as every host takes its share itself, "
                f"got {channel.distribution}; choose FullyReplicated"
            )
    folders = {path.name: path for path in sorted(folder.glob("*")) if path.is_dir()}
    if missing := sorted(set(declared) - set(folders)):
        raise DataError(f"{folder}: expected the channels {', '.join(declared)}, got no {', '.join(missing)}")
    channels = {name: path for name, path in folders.items() if not declared or name in declared}
    weights = channels.pop(_WEIGHTS, None)
    return Channels(_group_by_split(channels, folder), _find_weights(weights) if weights else None)


def _group_by_split(channels: Mapping[str, Path], folder: Path) -> dict[str | None, Path]:
    if len(channels) == 1:
        return {None: next(iter(channels.values()))}
    by_split: dict[str | None, Path] = {
        _SPLIT_OF_CHANNEL[name]: path for name, path in channels.items() if name in _SPLIT_OF_CHANNEL
    }
    if len(by_split) != len(channels) or not set(SPLITS) <= set(by_split):
        raise DataError(
            f"{folder}: expected one channel that holds train/, val/ and test/, or the channels train, val (or "
            f"validation), test and at most stream, got {', '.join(channels) or 'none'}; beside these only weights"
        )
    return by_split


def _find_weights(channel: Path) -> Path:
    """The weights file, where there is one alone; else the folder, of which the model takes its own."""
    files = [path for path in channel.iterdir() if path.is_file() and path.suffix != ".json"]
    if not files:
        raise DataError(f"{channel}: expected weights files, each with <file>.json beside it or without, got none")
    return files[0] if len(files) == 1 else channel
