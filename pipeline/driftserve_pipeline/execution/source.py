"""List the S3 objects at a location that the pipeline reads. Of a Kaggle data set, only the name is known here."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError

_BY_NAME = "kaggle:"


@dataclass(frozen=True)
class SourceObject:
    """An object in S3; its ETag changes with its content."""

    address: str
    etag: str
    size: int


@dataclass(frozen=True)
class Source:
    """A location and its objects. A Kaggle data set has no objects here, only its name."""

    location: str
    objects: tuple[SourceObject, ...]


def list_source(client: Any, location: str) -> Source:
    """List the objects at a location, sorted by key.

    Args:
        client: boto3's client for S3.
        location: `s3://<bucket>/<prefix>`, the address of one object, or `kaggle:<owner>/<name>`.

    Raises:
        PipelineError: the location has another form, or there are no objects.
    """
    if location.startswith(_BY_NAME):
        return Source(location, ())
    try:
        bucket, key = bucket_and_key(location)
    except PipelineError as error:
        raise PipelineError(
            f"{location}: expected s3://<bucket>/<prefix> or kaggle:<owner>/<name>, which a job in the account can "
            "read, got neither; correct the location"
        ) from error
    folder = key.rstrip("/") + "/" if key else ""  # `a/b` must not match `a/bc`
    found = [
        SourceObject(f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"'), item["Size"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key.rstrip("/"))
        for item in page.get("Contents", ())
        if item["Key"] == key or item["Key"].startswith(folder)
    ]
    if not any(item.size for item in found):
        raise PipelineError(f"{location}: expected objects there, got none; correct the location")
    return Source(location, tuple(sorted(found, key=lambda item: item.address)))


def digest_of(sources: Iterable[Source]) -> str:
    """Return the SHA-256 of the objects at some locations, in hexadecimal. It covers their names, ETags and sizes."""
    listed = [
        [source.location, [[item.address, item.etag, item.size] for item in source.objects]] for source in sources
    ]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
