"""Compare two versions by their measurements and their metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from driftserve_pipeline.address import bucket_and_key
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.versions import ModelVersion

Value = float | str | None

_MEASURES = {  # for each of our names: its path in evaluation.json
    "accuracy": ("multiclass_classification_metrics", "accuracy", "value"),
    "weighted_f1": ("multiclass_classification_metrics", "weighted_f1", "value"),
    "macro_f1": ("driftserve", "macro_f1", "value"),
    "ece": ("driftserve", "calibrated", "ece"),
    "mean_corruption_accuracy": ("driftserve", "robustness", "mean_corruption_accuracy", "value"),
    "test_images": ("driftserve", "images"),
    "test_images_sha256": ("driftserve", "images_sha256"),
    "network": ("driftserve", "network"),
}


@dataclass(frozen=True)
class Compared:
    """One property of both versions. A value is None if it is unknown."""

    name: str
    first: Value
    second: Value

    @property
    def difference(self) -> float | None:
        """The second number minus the first; None if one of them is not a number."""
        if isinstance(self.first, str) or isinstance(self.second, str) or self.first is None or self.second is None:
            return None
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """Two versions, and everything that is known about them."""

    first: ModelVersion
    second: ModelVersion
    rows: tuple[Compared, ...]

    @property
    def is_of_same_images(self) -> bool:
        """Whether both were tested on the same images. If not, their metrics are not comparable."""
        tested = next(row for row in self.rows if row.name == "test_images_sha256")
        return tested.first is not None and tested.first == tested.second


def compare(s3: Any, first: ModelVersion, second: ModelVersion) -> Comparison:
    """Compare two versions by their evaluations in S3 and their metadata in the registry.

    Args:
        s3: boto3's client for S3.
        first: a version.
        second: the other version.

    Raises:
        PipelineError: an evaluation is not JSON. A missing evaluation is not an error.
    """
    of_first, of_second = _known(s3, first), _known(s3, second)
    names = dict.fromkeys([*of_first, *of_second])
    return Comparison(first, second, tuple(Compared(name, of_first.get(name), of_second.get(name)) for name in names))


def _known(s3: Any, version: ModelVersion) -> dict[str, Value]:
    evaluation = _evaluation(s3, version)
    measured: dict[str, Value] = {name: _at(evaluation, path) for name, path in _MEASURES.items()}
    return {
        "status": version.status,
        "created": version.created.isoformat(timespec="seconds"),
        **measured,
        **{name: text for name, text in version.metadata.items() if measured.get(name) is None},
        "image": version.image or None,
        "model_data_url": version.model_data_url or None,
    }


def _evaluation(s3: Any, version: ModelVersion) -> Mapping[str, Any]:
    """Return the content of the evaluation file, or nothing if there is no file."""
    if version.evaluation_url is None:
        return {}
    bucket, key = bucket_and_key(version.evaluation_url)
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
            raise
        return {}
    try:
        read = json.loads(content)
    except ValueError as error:
        raise PipelineError(f"{version.evaluation_url}: the evaluation is not JSON: {error}") from error
    return read if isinstance(read, dict) else {}


def _at(content: Any, path: tuple[str, ...]) -> Value:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, float | int | str) else None
