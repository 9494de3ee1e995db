"""Download the registered champion, and read its labels."""

import json
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.versions import champion
from driftserve_pipeline.steps.tarball import unpack

_CONTRACT_FILE = "contract.json"
_MOST_CONTRACT_BYTES = 64 * 2**20  # the same limit as in the serving code


@dataclass(frozen=True)
class Champion:
    """The newest approved version: its ARN, its downloaded archive, and the labels in its contract."""

    arn: str
    archive: Path
    labels: tuple[str, ...]

    def is_comparable(self, labels: Collection[str]) -> bool:
        """Return whether the champion has these labels, in any order. If not, the predictions cannot be compared."""
        return set(self.labels) == set(labels)


def download_champion(sagemaker: Any, s3: Any, group: str, folder: Path) -> Champion | None:
    """Download the champion of a group and unpack it into a folder; return None if no version is approved.

    Args:
        sagemaker: boto3's client for SageMaker.
        s3: boto3's client for S3.
        group: the model package group.
        folder: a folder that does not exist yet.

    Raises:
        PipelineError: the registry cannot be read, the model data is missing, or it is not a driftserve archive.
    """
    version = champion(sagemaker, group)
    if version is None:
        return None
    folder.mkdir(parents=True)
    _download(s3, version.model_data_url, folder / "model.tar.gz", version.arn)
    unpacked = unpack(folder / "model.tar.gz", folder / "model")
    found = [path for path in unpacked.glob("*.mar") if not path.name.startswith(".")]  # macOS's tar adds these
    if len(found) != 1:
        raise PipelineError(
            f"{version.arn}: expected one .mar file in {version.model_data_url}, got {len(found)}; reject that version"
        )
    return Champion(version.arn, found[0], _labels(found[0], version.arn))


def _download(s3: Any, url: str, file: Path, arn: str) -> None:
    try:
        bucket, key = bucket_and_key(url)
        s3.download_file(bucket, key, str(file))
    except (PipelineError, Boto3Error, BotoCoreError, ClientError, ValueError) as error:
        raise PipelineError(
            f"{arn}: cannot download its model data from {url}: {error}; restore it, or reject that version"
        ) from error


def _labels(archive: Path, arn: str) -> tuple[str, ...]:
    """Read the labels from the contract. The whole archive is verified later, before its model runs."""
    try:
        with zipfile.ZipFile(archive) as mar, mar.open(_CONTRACT_FILE) as file:
            contract = json.loads(file.read(_MOST_CONTRACT_BYTES))
        return tuple(map(str, contract["labels"]))
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise PipelineError(
            f"{arn}: cannot read the labels in the contract of {archive.name}: {error!r}; reject that version"
        ) from error
