"""Test the model server adapter with the real context classes of TorchServe and MMS."""

import gzip
import importlib
import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftserve.adapters import model_server
from driftserve.errors import ArchiveError
from model_servers import python_of
from sample_images import encode, scene

MakeContext = Callable[[Path, list[dict[str, str]]], Any]


@pytest.fixture(params=["ts", "mms"])
def make_context(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeContext:
    """A function that creates the context of a batch with given headers, with TorchServe's or MMS's class."""
    if request.param == "mms":  # MMS's environment comes last on the path, so it provides only the missing modules
        packages = python_of("mms").parent.parent.glob("lib/python*/site-packages")
        monkeypatch.setattr(sys, "path", [*sys.path, *map(str, packages)])
    module = importlib.import_module(f"{request.param}.context")

    def make(model_dir: Path, headers: list[dict[str, str]]) -> Any:
        context = module.Context("tiny", str(model_dir), {}, len(headers) or 1, None, "1.0")
        context.request_ids = {index: f"request-{index}" for index in range(len(headers))}
        context.request_processor = [module.RequestProcessor(header) for header in headers]
        return context

    return make


@pytest.fixture
def model_dir(archive: Path, tmp_path: Path, make_context: MakeContext) -> Path:
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(tmp_path)
    model_server.handle(None, make_context(tmp_path, []))
    return tmp_path


def test_one_bad_request_of_three_fails_alone_with_its_own_status(
    model_dir: Path, generator: np.random.Generator, make_context: MakeContext
) -> None:
    good = bytearray(encode(scene(generator)))
    context = make_context(model_dir, [{"Content-Type": "image/png"}] * 3)
    answers = model_server.handle([{"body": good}, {"body": bytearray(b"garbage")}, {"data": good}], context)
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


def test_header_names_are_case_insensitive(
    model_dir: Path, generator: np.random.Generator, make_context: MakeContext
) -> None:
    row = {"body": bytearray(encode(scene(generator)))}
    for name in ("content-type", "Content-Type", "CONTENT-TYPE"):
        context = make_context(model_dir, [{name: "image/png"}])
        model_server.handle([row], context)
        assert context.get_response_status(0)[0] == 200


def test_a_packed_body_is_unpacked_by_its_header(
    model_dir: Path, generator: np.random.Generator, make_context: MakeContext
) -> None:
    image = encode(scene(generator))
    rows = [{"body": bytearray(body)} for body in (image, gzip.compress(image), zlib.compress(image), image)]
    codings: list[dict[str, str]] = [
        {},
        {"Content-Encoding": "gzip"},
        {"CONTENT-ENCODING": "Deflate"},
        {"content-encoding": "br"},
    ]
    context = make_context(model_dir, [{"Content-Type": "image/png"} | coding for coding in codings])
    answers = [json.loads(answer) for answer in model_server.handle(rows, context)]
    assert [context.get_response_status(index)[0] for index in range(4)] == [200, 200, 200, 415]
    assert answers[0]["probabilities"] == answers[1]["probabilities"] == answers[2]["probabilities"]
    assert "Content-Encoding" in answers[3]["error"]["message"]


def test_a_request_without_body_or_type_is_a_client_error(model_dir: Path, make_context: MakeContext) -> None:
    context = make_context(model_dir, [{}, {"Content-Type": "image/png"}])
    model_server.handle([{}, {"body": {"decoded": "json"}}], context)
    assert [context.get_response_status(index)[0] for index in range(2)] == [415, 400]


def test_before_loading_requests_are_refused_as_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_context: MakeContext
) -> None:
    monkeypatch.setattr(model_server, "_service", None)
    context = make_context(tmp_path, [{"Content-Type": "image/png"}])
    (answer,) = model_server.handle([{"body": b""}], context)
    assert context.get_response_status(0)[0] == 503
    assert json.loads(answer)["error"]["type"] == "NotReady"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding_size": 12}, r"model\.pt: expected .* \(\(1, 3\), \(1, 12\)\)"),
        (
            {"reference": {f"probability.{label}": [0.1, 0.2] for label in ("red", "green", "blue")}},
            r"expected the features probability\.red, .*, blocking, got probability\.red",
        ),
    ],
)
def test_a_graph_that_does_not_fit_its_contract_fails_the_load(
    archive: Path, tmp_path: Path, change: dict[str, object], message: str, make_context: MakeContext
) -> None:
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(tmp_path)
    document = json.loads((tmp_path / "contract.json").read_text()) | change
    (tmp_path / "contract.json").write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match=message):
        model_server.handle(None, make_context(tmp_path, []))


def test_a_broken_contract_fails_the_load(tmp_path: Path, make_context: MakeContext) -> None:
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(Exception, match="expected schema_version"):
        model_server.handle(None, make_context(tmp_path, []))
