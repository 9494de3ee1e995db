"""Fixtures for containers: a model directory and images to classify."""

from pathlib import Path

import numpy as np
import pytest

from containers import readable
from sample_images import encode, scene


@pytest.fixture(scope="session")
def model_dir(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny archive, to mount into a container."""
    return readable(tmp_path_factory.mktemp("model") / "model", archive)


@pytest.fixture(scope="session")
def bodies() -> list[bytes]:
    generator = np.random.default_rng(3)
    return [encode(scene(generator)) for _ in range(50)]
