"""The current code verifies, serves and replays archives, records and logs of earlier versions."""

import json
from pathlib import Path

import numpy as np
import pytest

from checkout import TESTS
from driftserve.cli import main
from model_servers import started
from sample_images import encode, scene

WRITTEN = TESTS / "written_by_0_1_0"
ARCHIVE = WRITTEN / "tiny.mar"


def test_the_digest_of_an_archive_has_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(ARCHIVE)]) == 0
    assert capsys.readouterr().out == (WRITTEN / "verify.txt").read_text()


def test_an_archive_is_served_and_monitored(tmp_path: Path) -> None:
    name, digest = (WRITTEN / "verify.txt").read_text().split()
    with started(ARCHIVE, tmp_path / "r", tmp_path / "log", DRIFTSERVE_WORKERS="1") as endpoint:
        answer = endpoint.post(encode(scene(np.random.default_rng(3))))
        assert answer.status == 200
        model = json.loads(answer.data)["model"]
        assert f"{model['name']}/{model['version']}" == name
        assert endpoint.observations() == 1
        assert (endpoint.runtime_dir / "models" / f"{digest}.json").is_file()


def _windows(reports: str) -> list[dict[str, object]]:
    """Return what no later version changes in reports: all but the tests, which became better, and the calibration."""
    documents = [json.loads(line) for line in reports.splitlines()]
    for document in documents:
        document.pop("calibration", None)
        document["estimated_accuracy"] = round(document["estimated_accuracy"], 9)
        document["tests"] = sorted(
            (test["feature"], test["test"], test["shift"], test["reference"]) for test in document["tests"]
        )
    return documents


def test_a_record_is_replayed_to_the_original_windows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(WRITTEN / "observations.jsonl"), "--archive", str(ARCHIVE)]) == 0
    windows = _windows(capsys.readouterr().out)
    assert windows == _windows((WRITTEN / "reports.jsonl").read_text())
    assert [window["horizon"] for window in windows].count("long window") == 1


def test_a_functions_log_is_replayed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DRIFTSERVE_WINDOW_SIZE", "20")
    assert main(["replay", "--log", str(WRITTEN / "function.log"), "--archive", str(ARCHIVE)]) == 0
    windows = _windows(capsys.readouterr().out)
    assert windows == _windows((WRITTEN / "function.reports.jsonl").read_text())
    assert len(windows) == 1


def test_a_record_becomes_the_reference_of_a_new_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "observations.jsonl"
    batches = [line for line in (WRITTEN / "observations.jsonl").read_text().splitlines() if '"model"' in line]
    several = [line.replace('"image_id":"', f'"image_id":"{copy}') for copy in range(3) for line in batches]
    record.write_text("\n".join(several) + "\n")
    arguments = ["rebaseline", str(record), "--archive", str(ARCHIVE), "--new-version", "8"]
    assert main([*arguments, "--output", str(tmp_path / "new")]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["reference_images"] == 3 * 110
