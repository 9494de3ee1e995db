"""List and download S3 objects.

boto3 finds region, credentials and endpoint as usual; AWS_ENDPOINT_URL_S3 selects another endpoint.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tqdm import tqdm

from driftserve.errors import DataError
from driftserve_training.sources.staging import to_relative_path

SCHEME = "s3://"
_PARALLEL_DOWNLOADS = 8  # the objects are small, so most of the time is network latency
_CONFIG = Config(
    max_pool_connections=_PARALLEL_DOWNLOADS,
    connect_timeout=10,  # seconds
    read_timeout=60,  # seconds
    retries={"mode": "standard", "max_attempts": 4},
)


@dataclass(frozen=True)
class Address:
    """A bucket in S3, with the key of an object or a prefix of keys."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def read_address(text: str) -> Address:
    """Parse an `s3://` URI.

    >>> read_address("s3://scenes/2026/release")
    Address(bucket='scenes', key='2026/release')

    Raises:
        DataError: the URI has no bucket.
    """
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not bucket:
        raise DataError(f"{text}: expected s3://<bucket>/<prefix>, got no bucket; correct the address")
    return Address(bucket, key)


def download_prefix(address: Address, folder: Path, is_wanted: Callable[[PurePosixPath], bool]) -> int:
    """Download the wanted objects below a prefix; return the number of objects that were skipped.

    Raises:
        DataError: there is no object, a key points outside the folder, or S3 returns an error.
    """
    with _translated_errors(address):
        client = _client()
        keys = _keys(client, address)
        if not keys:
            raise DataError(f"{address}: expected objects below that prefix, got none; correct the address")
        wanted = []
        for key, name in keys.items():
            path = to_relative_path(name, str(address))
            if key.endswith("/"):  # the S3 console creates such objects for folders
                (folder / path).mkdir(parents=True, exist_ok=True)
            elif is_wanted(path):
                wanted.append((Address(address.bucket, key), folder / path))
    _download_all(client, wanted)
    return sum(not key.endswith("/") for key in keys) - len(wanted)


def download(objects: Sequence[tuple[Address, Path]]) -> None:
    """Download each object to its path, several in parallel.

    Raises:
        DataError: an object is missing, or S3 returns an error; the message names the object.
    """
    if objects:
        _download_all(_client(), objects)


def _download_all(client: Any, objects: Sequence[tuple[Address, Path]]) -> None:
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        futures = [pool.submit(_download, client, address, path) for address, path in objects]
        try:
            for future in tqdm(futures, desc="downloading", unit="object"):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _client() -> Any:
    with _translated_errors("s3"):
        session = boto3.Session()  # boto3's default session would cache its credentials
        # SageMaker sets AWS_REGION, which boto3 does not read.
        return session.client("s3", session.region_name or os.environ.get("AWS_REGION"), config=_CONFIG)


def _keys(client: Any, address: Address) -> dict[str, str]:
    """Return the keys below a prefix, each with its part after the prefix; `a/bc` is not below `a/b`."""
    prefix = address.key.rstrip("/") + "/" if address.key else ""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key: key[len(prefix) :] for key in keys if key != prefix}


def _download(client: Any, address: Address, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _translated_errors(address):
        client.download_file(address.bucket, address.key, str(path), Config=TransferConfig(use_threads=False))


@contextmanager
def _translated_errors(address: Address | str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise DataError(f"{address}: cannot read from S3: {error}; check address, credentials and network") from error
