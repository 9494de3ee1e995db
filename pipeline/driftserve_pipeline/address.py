"""Parse S3 addresses."""

from driftserve_pipeline.errors import PipelineError

_SCHEME = "s3://"


def bucket_and_key(address: str) -> tuple[str, str]:
    """Split an address into bucket and key. The key is empty for a whole bucket.

    >>> bucket_and_key("s3://bucket/a/b")
    ('bucket', 'a/b')

    Raises:
        PipelineError: it is not an S3 address.
    """
    bucket, _, key = address.removeprefix(_SCHEME).partition("/")
    if not address.startswith(_SCHEME) or not bucket:
        raise PipelineError(f"expected an address s3://BUCKET/KEY, got {address[:200]!r}; correct it")
    return bucket, key
