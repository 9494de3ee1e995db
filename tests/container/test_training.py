"""Run a training job in its image, as SageMaker does, and serve the resulting archive."""

import json
from pathlib import Path

import numpy as np
import pytest

from containers import container, docker, readable, serving, tag
from driftserve_demo.synthetic import write_dataset
from sample_images import encode, scene

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]


def _job(base: Path, **hyperparameters: str) -> Path:
    """Create a job's folder with SageMaker's layout; return it."""
    data = base / "input" / "data" / "training"
    write_dataset(data, {"train": 16, "val": 10, "test": 6}, seed=5)
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (base / "model").mkdir()
    (base / "output").mkdir()
    return base


SMALL = {"model": "test_resnet", "pretrained": "false", "image-size": "48", "epochs": "2", "batch-size": "16"}


def test_a_trained_archive_can_be_served(tmp_path: Path) -> None:
    base = _job(tmp_path / "ml", **SMALL)
    with container(tag("training"), "train", options=("--shm-size", "256m", "--volume", f"{base}:/opt/ml")) as job:
        assert job.wait(200) == 0, job.log()
    (archive,) = (base / "model").iterdir()
    assert archive.name == "scenes.mar"
    with serving(tag("serving"), readable(tmp_path / "model", archive)) as server:
        answer = server.post(encode(scene(np.random.default_rng(1))))
        assert answer.status == 200
        assert answer.json()["model"] == {"name": "scenes", "version": "1"}


def test_a_failed_job_writes_sagemakers_failure_file(tmp_path: Path) -> None:
    base = _job(tmp_path / "ml", epoch="1")
    with container(tag("training"), "train", options=("--volume", f"{base}:/opt/ml")) as job:
        assert job.wait(100) == 1
    assert "epoch" in (base / "output" / "failure").read_text()
    assert not list((base / "model").iterdir())
    assert docker(
        "run", "--rm", tag("training"), "python", "-c", "import torch.distributed.run as r; print(r.__name__)"
    )
