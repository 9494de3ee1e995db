"""Download the registered champion, and compare it with its registered digest."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from driftserve.archive.reading import find_archive, read_archive
from driftserve.archive.tarball import unpack_tarball
from driftserve.errors import ArchiveError
from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.versions import champion


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

    The archive is read as the serving code reads it, and compared with the digest in the registry. Its graph, which is
    code, is not loaded.

    Args:
        sagemaker: boto3's client for SageMaker.
        s3: boto3's client for S3.
        group: the model package group.
        folder: a folder that does not exist yet.

    Raises:
        PipelineError: the registry cannot be read, the model data is missing, it is not a driftserve archive, or it is
            not the archive that was registered.
    """
    version = champion(sagemaker, group)
    if version is None:
        return None
    folder.mkdir(parents=True)
    registered = version.require_archive_sha256()
    _download(s3, version.model_data_url, folder / "model.tar.gz", version.arn)
    try:
        archive = find_archive(unpack_tarball(folder / "model.tar.gz", folder / "model"))
        contract, digest = read_archive(archive)
    except ArchiveError as error:
        raise PipelineError(f"{version.arn}: {error}; reject that version") from error
    if digest != registered:
        raise PipelineError(
            f"{version.arn}: expected the registered archive, whose content digest is {registered}, in "
            f"{version.model_data_url}, got {digest}; restore it, or reject that version"
        )
    return Champion(version.arn, archive, contract.labels)


def _download(s3: Any, url: str, file: Path, arn: str) -> None:
    try:
        bucket, key = bucket_and_key(url)
        s3.download_file(bucket, key, str(file))
    except (PipelineError, Boto3Error, BotoCoreError, ClientError, ValueError) as error:
        raise PipelineError(
            f"{arn}: cannot download its model data from {url}: {error}; restore it, or reject that version"
        ) from error
