"""Where an object lies in S3."""

from driftserve_pipeline.errors import PipelineError

_SCHEME = "s3://"


def bucket_and_key(address: str) -> tuple[str, str]:
    """The two parts of an address; the key is empty for a whole bucket.

    >>> bucket_and_key("s3://bucket/a/b")
    ('bucket', 'a/b')

    Raises:
        PipelineError: it is no address in S3.
    """
    bucket, _, key = address.removeprefix(_SCHEME).partition("/")
    if not address.startswith(_SCHEME) or not bucket:
        raise PipelineError(f"expected an address s3://BUCKET/KEY, got {address[:200]!r}; correct it")
    return bucket, key
