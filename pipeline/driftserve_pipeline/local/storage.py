"""Copy whole folders from and to S3, as SageMaker does before and after a job."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from driftserve.archive.tarball import unpack_tarball
from driftserve.text import is_utf8
from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError

_THREADS = 8


class Storage:
    """Folders in S3. An upload creates its bucket if it does not exist."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._buckets: set[str] = set()

    def download(self, uri: str, folder: Path) -> None:
        """Copy the object with this address, or all objects below this prefix, into a folder.

        Raises:
            PipelineError: there are no such objects, or a key points outside the folder.
        """
        bucket, prefix = bucket_and_key(uri)
        found = [key for key in self._keys(bucket, prefix) if not key.endswith("/")]
        below = f"{prefix.rstrip('/')}/"
        names = {key: key.removeprefix(below) for key in found if key.startswith(below)}
        names |= {key: Path(key).name for key in found if key == prefix}
        if not names:
            raise PipelineError(f"expected S3 objects under the S3 URL {uri!r}, got none")
        for key, name in names.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise PipelineError(f"{uri}: expected keys below it, got {key!r}, which leads outside; rename it")
        folder.mkdir(parents=True, exist_ok=True)
        for name in names.values():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            copies = [
                pool.submit(self._client.download_file, bucket, key, str(folder / name)) for key, name in names.items()
            ]
            for copy in copies:
                copy.result()

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file to this address, or all files of a folder below this prefix.

        Raises:
            PipelineError: the file or folder does not exist, or the name of a file is not UTF-8.
        """
        if not path.exists():
            raise PipelineError(f"{path}: expected a file or a folder for {uri}, got neither; correct the path")
        bucket, prefix = bucket_and_key(uri)
        if path.is_file():
            files = {path: prefix}
        else:
            below = prefix.rstrip("/")
            files = {file: f"{below}/{file.relative_to(path).as_posix()}" for file in path.rglob("*") if file.is_file()}
        if others := [file for file in files if not is_utf8(str(file))]:
            raise PipelineError(f"{others[0]}: expected a name in UTF-8, as S3 needs it, got other bytes; rename it")
        self._ensure(bucket)
        with ThreadPoolExecutor(_THREADS) as pool:
            for copy in [pool.submit(self._client.upload_file, str(file), bucket, key) for file, key in files.items()]:
                copy.result()

    def read(self, uri: str) -> bytes:
        """Return the content of an object.

        Raises:
            PipelineError: the object cannot be read.
        """
        bucket, key = bucket_and_key(uri)
        try:
            content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            raise PipelineError(f"{uri}: cannot read the object: {error}") from error
        return content

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            return [found["Key"] for page in pages for found in page.get("Contents", ())]
        except ClientError as error:
            raise PipelineError(f"s3://{bucket}/{prefix}: cannot list the bucket: {error}") from error

    def _ensure(self, bucket: str) -> None:
        if bucket in self._buckets:
            return
        try:
            self._client.head_bucket(Bucket=bucket)
        except ClientError:
            place = {"LocationConstraint": self._client.meta.region_name}
            self._client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        self._buckets.add(bucket)


def unpack_model(storage: Storage, uri: str, folder: Path) -> None:
    """Unpack a registered model into a folder, as an endpoint does into /opt/ml/model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        storage.download(uri, Path(scratch))
        unpack_tarball(Path(scratch, Path(uri).name), Path(scratch, "model"))
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch, "model").rename(folder)
