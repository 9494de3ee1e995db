"""Copies between folders and S3 in local runs, against moto's server: keys and tarballs are not trusted."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driftserve.errors import ArchiveError
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.aws import local_aws, make_client
from driftserve_pipeline.local.storage import Storage, unpack_model

BUCKET = "storage"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with local_aws(None) as environment:
        client = make_client("s3", environment)
        location = {"LocationConstraint": environment["AWS_DEFAULT_REGION"]}
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
        yield client


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/outside"])
def test_a_key_that_leads_out_of_the_folder_is_refused_and_nothing_is_written(
    s3: Any, key: str, tmp_path: Path
) -> None:
    prefix = f"keys/{key.count('/')}{len(key)}"
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/good", Body=b"good")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=b"bad")
    assert f"{prefix}/{key}" in {found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    with pytest.raises(PipelineError, match=r"expected keys below it, got 'keys/.*outside', which leads outside"):
        Storage(s3).download(f"s3://{BUCKET}/{prefix}", tmp_path / "deep" / "folder")
    assert list(tmp_path.rglob("*")) == []


def test_a_registered_model_is_unpacked_as_untrusted(s3: Any, tmp_path: Path) -> None:
    link = tarfile.TarInfo("scenes.mar")
    link.type, link.linkname = tarfile.SYMTYPE, "elsewhere.mar"
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as packed:
        packed.addfile(link)
    s3.upload_file(str(tmp_path / "model.tar.gz"), BUCKET, "models/1/model.tar.gz")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "good.mar").touch()
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz: expected plain files inside it, got 'scenes\.mar'"):
        unpack_model(Storage(s3), f"s3://{BUCKET}/models/1/model.tar.gz", tmp_path / "served")
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["good.mar"]
