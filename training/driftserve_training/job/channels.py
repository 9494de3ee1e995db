"""Input channels of a training job: folders with its images and, optionally, its weights.

The images are in one channel of any name with train/, val/ and test/, or in one channel for each of these splits.
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
from driftserve_training.network.weights import weights_files

_WEIGHTS = "weights"
_SPLIT_OF_CHANNEL = {split: split for split in (*SPLITS, STREAM)} | {"validation": "val"}


class _ChannelRecord(BaseModel):
    """The fields of a channel in `inputdataconfig.json` that we check."""

    model_config = ConfigDict(frozen=True)

    mode: str = Field(default="File", alias="TrainingInputMode")
    distribution: str = Field(default="FullyReplicated", alias="S3DistributionType")


@dataclass(frozen=True)
class Channels:
    """The folders of images by split, or one folder with the key None for all splits; and the path of the weights."""

    folders: Mapping[str | None, Path]
    weights: Path | None

    @contextmanager
    def data(self) -> Iterator[Path]:
        """Context manager for one folder that holds train/, val/, test/ and, if given, stream/."""
        if None in self.folders:
            yield self.folders[None]
            return
        with gathered({str(split): folder for split, folder in self.folders.items()}) as folder:
            yield folder


def find_channels(folder: Path, record: Path) -> Channels:
    """Find the channels under a folder; if `inputdataconfig.json` exists, only the channels that it lists.

    Raises:
        DataError: a channel is missing, has an unknown name, or is not complete on this host.
    """
    declared = read_platform_file(record, dict[str, _ChannelRecord], {})
    for name, channel in declared.items():
        if channel.mode == "Pipe":
            raise DataError(f"channel {name}: expected the input mode File or FastFile, got Pipe; choose one of them")
        if channel.distribution != "FullyReplicated":
            raise DataError(
                f"channel {name}: expected FullyReplicated, got {channel.distribution}; choose FullyReplicated, "
                "because every process selects its own share of the images"
            )
    folders = {path.name: path for path in sorted(folder.glob("*")) if path.is_dir()}
    if missing := sorted(set(declared) - set(folders)):
        raise DataError(f"{folder}: expected the channels {', '.join(declared)}, got no {', '.join(missing)}")
    shown = declared or [name for name in folders if not name.startswith(".")]
    channels = {name: path for name, path in folders.items() if name in shown}
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
            f"validation), test and optionally stream, got {', '.join(channels) or 'none'}; besides these, only the "
            "channel weights is allowed"
        )
    return by_split


def _find_weights(channel: Path) -> Path:
    """Return the weights file if there is only one; else the folder, from which the model's file is chosen later."""
    files = weights_files(channel)
    if not files:
        raise DataError(f"{channel}: expected weights files, with or without records <file>.json, got none")
    return files[0] if len(files) == 1 else channel
