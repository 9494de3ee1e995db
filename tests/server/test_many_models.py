"""TorchServe in multi-model mode on this machine: models are loaded and unloaded on request (docs/docker.md)."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import urllib3

from driftserve.archive.writing import write_model_tarball
from driftserve.host.ports import free_ports
from model_servers import START_TIMEOUT_SECONDS
from processes import running, wait_for
from sample_images import encode, scene


def test_models_are_verified_when_they_are_loaded(
    archive: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, generator: np.random.Generator
) -> None:
    models = tmp_path / "mod\u00e8les"
    write_model_tarball(archive, tmp_path / "model.tar.gz")
    for name in ("good", "broken"):
        with tarfile.open(tmp_path / "model.tar.gz") as packed:
            packed.extractall(models / name, filter="data")
    (models / "broken" / "extra.py").write_text("raise SystemExit")
    (port,) = free_ports(1)
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    environment = {
        "DRIFTSERVE_MULTI_MODEL": "true",
        "DRIFTSERVE_MODELS_DIR": os.path.relpath(models),  # the workers run in other directories
        "LC_ALL": "C",
        "DRIFTSERVE_RUNTIME_DIR": str(tmp_path_factory.mktemp("r")),  # short enough for the path of a socket
    }

    def load(name: str) -> int:
        body = json.dumps({"model_name": name, "url": str(models / name)})
        headers = {"Content-Type": "application/json"}
        return urllib3.request("POST", f"{url}/models", body=body, headers=headers, retries=False, timeout=60).status

    def names() -> set[str]:
        listed = urllib3.request("GET", f"{url}/models", retries=False).json()["models"]
        return {model["modelName"] for model in listed}

    with running("driftserve", "serve", "--port", str(port), environment=environment, log=log) as process:

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            return "ready" in log.read_text()

        wait_for(is_up, START_TIMEOUT_SECONDS)
        assert load("broken") == 500
        assert load("good") == 200
        wait_for(lambda: names() == {"good"}, 20)  # what failed to load is unregistered
        invoke = f"{url}/models/good/invoke"
        image = encode(scene(generator), "JPEG")
        answer = urllib3.request("POST", invoke, body=image, headers={"Content-Type": "image/jpeg"}, retries=False)
        assert answer.json()["model"] == {"name": "tiny", "version": "7"}
        assert urllib3.request("DELETE", f"{url}/models/good", retries=False).status == 200
        assert urllib3.request("POST", invoke, body=image, retries=False).status == 404
    assert "extra.py" in log.read_text()
    assert process.returncode == 0
