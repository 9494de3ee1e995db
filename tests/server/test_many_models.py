"""TorchServe in multi-model mode on this machine: models are loaded and unloaded on request (docs/docker.md)."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import urllib3

from driftserve.archive.reading import read_archive
from driftserve.archive.writing import write_model_tarball
from driftserve.drift.report import report_to_json
from driftserve.host.ports import free_ports
from driftserve.observations.replay import replay
from driftserve.runtime.status import read_status
from model_servers import START_TIMEOUT_SECONDS
from processes import running, wait_for
from sample_images import encode, scene

WINDOW = 20


def test_models_are_verified_when_they_are_loaded_and_watched_by_their_names(
    archive: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, generator: np.random.Generator
) -> None:
    models, record = tmp_path / "mod\u00e8les", tmp_path / "record"
    runtime_dir = tmp_path_factory.mktemp("r")  # short enough for the path of a socket
    write_model_tarball(archive, tmp_path / "model.tar.gz")
    for name in ("good", "night", "broken"):
        with tarfile.open(tmp_path / "model.tar.gz") as packed:
            packed.extractall(models / name, filter="data")
    (models / "broken" / "extra.py").write_text("raise SystemExit")
    (port,) = free_ports(1)
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    environment = {
        "DRIFTSERVE_MULTI_MODEL": "true",
        "DRIFTSERVE_MODELS_DIR": os.path.relpath(models),  # the workers run in other directories
        "LC_ALL": "C",
        "DRIFTSERVE_RUNTIME_DIR": str(runtime_dir),
        "DRIFTSERVE_RECORD_DIR": str(record),
        "DRIFTSERVE_WINDOW_SIZE": str(WINDOW),
        "DRIFTSERVE_SINKS": "log",
    }

    def load(name: str) -> int:
        body = json.dumps({"model_name": name, "url": str(models / name)})
        headers = {"Content-Type": "application/json"}
        return urllib3.request("POST", f"{url}/models", body=body, headers=headers, retries=False, timeout=60).status

    def names() -> set[str]:
        listed = urllib3.request("GET", f"{url}/models", retries=False).json()["models"]
        return {model["modelName"] for model in listed}

    def classify(name: str, offset: float = 0.0) -> urllib3.BaseHTTPResponse:
        image, headers = encode(scene(generator, offset)), {"Content-Type": "image/png"}
        return urllib3.request("POST", f"{url}/models/{name}/invoke", body=image, headers=headers, retries=False)

    def seen(field: str) -> dict[str, object]:
        return {model["name"]: model[field] for model in read_status(runtime_dir)["models"].values()}

    with running("driftserve", "serve", "--port", str(port), environment=environment, log=log) as process:

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            return "ready" in log.read_text()

        wait_for(is_up, START_TIMEOUT_SECONDS)
        assert load("broken") == 500
        assert (load("good"), load("night")) == (200, 200)
        wait_for(lambda: names() == {"good", "night"}, 20)  # what failed to load is unregistered
        assert classify("good").json()["model"] == {"name": "tiny", "version": "7"}

        # One archive has two names. Only the traffic of one has drifted.
        for _ in range(WINDOW - 1):
            classify("good")
        for _ in range(WINDOW):
            classify("night", offset=70)
        wait_for(lambda: seen("windows") == {"tiny/7 as good": 1, "tiny/7 as night": 1}, 20)
        assert seen("state") == {"tiny/7 as good": "OK", "tiny/7 as night": "DRIFT"}
        assert {key.partition("@")[2] for key in read_status(runtime_dir)["models"]} == {"good", "night"}
        classify("night")

        # One name is unloaded. The other one's windows go on, and the first one begins anew when it is loaded again.
        assert urllib3.request("DELETE", f"{url}/models/night", retries=False).status == 200
        assert classify("night").status == 404
        wait_for(lambda: seen("observations") == {"tiny/7 as good": WINDOW}, 60)
        assert load("night") == 200
        for _ in range(WINDOW):
            classify("night")
        wait_for(lambda: seen("windows") == {"tiny/7 as good": 1, "tiny/7 as night": 1}, 20)
        assert seen("state") == {"tiny/7 as good": "OK", "tiny/7 as night": "OK"}
        assert read_status(runtime_dir)["lost"]["unknown_model"] == 0
    assert "extra.py" in log.read_text()
    assert process.returncode == 0
    assert {metrics["Model"] for metrics in _metrics(log) if "Images" in metrics} == {
        "tiny/7 as good",
        "tiny/7 as night",
    }
    reports = (record / "reports.jsonl").read_text().splitlines()
    assert [json.loads(report)["model"] for report in reports] == [
        f"tiny/7 as {name}" for name in ("good", "night", "night")
    ]
    with (record / "observations.jsonl").open("rb") as lines:
        assert [report_to_json(report) for report in replay(lines, *read_archive(archive))] == reports


def _metrics(log: Path) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in log.read_text().splitlines() if '"metrics": {' in line)
    return [line["metrics"] for line in lines]
