"""The adapter against the real `ts.context.Context`, which is what TorchServe's worker hands it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ts.context import Context, RequestProcessor

from driftserve.adapters import torchserve
from driftserve.errors import ArchiveError
from images import encode, scene


def _context(model_dir: Path, headers: list[dict[str, str]]) -> Context:
    context = Context("tiny", str(model_dir), {}, batch_size=len(headers) or 1, gpu=None, mms_version="0.12.0")
    context.request_ids = {index: f"request-{index}" for index in range(len(headers))}
    context.request_processor = [RequestProcessor(header) for header in headers]
    return context


@pytest.fixture
def model_dir(archive: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(tmp_path)
    torchserve.handle(None, _context(tmp_path, []))
    return tmp_path


def test_one_bad_of_three_fails_alone_with_its_own_status(model_dir: Path, generator: np.random.Generator) -> None:
    good = bytearray(encode(scene(generator)))
    context = _context(model_dir, [{"Content-Type": "image/png"}] * 3)
    answers = torchserve.handle([{"body": good}, {"body": bytearray(b"garbage")}, {"data": good}], context)
    assert len(answers) == 3
    assert [context.get_response_status(index) for index in range(3)] == [
        (200, "OK"),
        (400, "Bad Request"),
        (200, "OK"),
    ]
    assert {context.get_response_content_type(index) for index in range(3)} == {"application/json"}
    first, second, third = map(json.loads, answers)
    assert first["probabilities"] == third["probabilities"]
    assert (first["request_id"], third["request_id"]) == ("request-0", "request-2")
    assert second["error"]["type"] == "UndecodableImage"


def test_headers_are_found_whatever_their_case(model_dir: Path, generator: np.random.Generator) -> None:
    row = {"body": bytearray(encode(scene(generator)))}
    for name in ("content-type", "Content-Type", "CONTENT-TYPE"):
        context = _context(model_dir, [{name: "image/png"}])
        torchserve.handle([row], context)
        assert context.get_response_status(0)[0] == 200


def test_a_request_without_body_or_type_is_the_callers_error(model_dir: Path) -> None:
    context = _context(model_dir, [{}, {"Content-Type": "image/png"}])
    torchserve.handle([{}, {"body": {"decoded": "json"}}], context)
    assert [context.get_response_status(index)[0] for index in range(2)] == [415, 400]


def test_before_it_is_loaded_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torchserve, "_service", None)
    context = _context(tmp_path, [{"Content-Type": "image/png"}])
    (answer,) = torchserve.handle([{"body": b""}], context)
    assert context.get_response_status(0)[0] == 503
    assert json.loads(answer)["error"]["type"] == "NotReady"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["red", "green"]}, r"model\.pt: expected .* \(\(1, 2\), \(1, 3\)\), got \(\(1, 3\), \(1, 3\)\)"),
        ({"embedding_size": 12}, r"model\.pt: expected .* \(\(1, 3\), \(1, 12\)\)"),
        ({"reference": {"margin": [0.1, 0.2]}}, r"expected a reference of probability\.red, .*, got margin"),
    ],
)
def test_a_graph_that_does_not_fit_its_contract_fails_the_load(
    archive: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(tmp_path)
    document = json.loads((tmp_path / "contract.json").read_text()) | change
    (tmp_path / "contract.json").write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match=message):
        torchserve.handle(None, _context(tmp_path, []))


def test_a_broken_contract_fails_the_load(tmp_path: Path) -> None:
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(Exception, match="expected schema_version"):
        torchserve.handle(None, _context(tmp_path, []))
