"""docs/openapi.yaml against both servers: each example is run, and each answer compared with its schema."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import openapi_spec_validator
import pytest
import yaml

from checkout import ROOT
from driftserve import errors
from driftserve.inference.service import IMAGE_TYPES, JSON_TYPE
from model_servers import Endpoint
from sample_images import encode, scene

DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
EXAMPLES = [
    pytest.param(operation, sample, id=sample["label"])
    for path in DOCUMENT["paths"].values()
    for operation in path.values()
    for sample in operation["x-codeSamples"]
]


def _check_answer(operation: dict[str, Any], status: int, answer: object) -> None:
    """Raise unless the status is documented and the answer has its schema."""
    response = operation["responses"][str(status)]
    if "content" in response:
        schema = response["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(answer)


def test_the_document_is_openapi() -> None:
    openapi_spec_validator.validate(DOCUMENT)


@pytest.mark.parametrize(("operation", "sample"), EXAMPLES)
def test_each_example_is_answered_as_documented(
    endpoint: Endpoint,
    operation: dict[str, Any],
    sample: dict[str, Any],
    tmp_path: Path,
    generator: np.random.Generator,
) -> None:
    for name in ("sea.jpg", "forest.jpg"):
        (tmp_path / name).write_bytes(encode(scene(generator), "JPEG"))
    command = (
        sample["source"]
        .replace("localhost:8080", endpoint.url)
        .replace("curl ", "curl --silent --write-out '\\n%{http_code}' ")
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=70)
    body, _, status = done.stdout.rpartition("\n")
    assert int(status) == sample["status"], done
    _check_answer(operation, int(status), json.loads(body) if "content" in operation["responses"][status] else body)
    if "answer" in sample:
        documented = json.loads(sample["answer"])
        _check_answer(operation, int(status), documented)
        assert set(json.loads(body)) == set(documented)


def test_every_content_type_and_every_error_of_a_request_is_documented() -> None:
    invoke = DOCUMENT["paths"]["/invocations"]["post"]
    assert tuple(invoke["requestBody"]["content"]) == (*IMAGE_TYPES, JSON_TYPE)
    of_a_path = {errors.NotFound, errors.MethodNotAllowed}  # only the Lambda function answers these itself
    for kind in {*_descendants(errors.BadRequest), errors.ModelError, errors.NotReady} - of_a_path:
        assert f"`{kind.__name__}`" in invoke["responses"][str(kind.status)]["description"]


def _descendants(kind: type[errors.DriftserveError]) -> set[type[errors.DriftserveError]]:
    return {kind for child in kind.__subclasses__() for kind in {child, *_descendants(child)}}
