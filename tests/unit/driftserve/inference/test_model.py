import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from driftserve.archive.contract import ImageSpec
from driftserve.errors import ArchiveError, ModelError
from driftserve.inference.model import TORCHSCRIPT_WARNING, load_graph


def test_a_graph_gives_logits_and_embedding(graph_file: Path, spec: ImageSpec) -> None:
    output = load_graph(graph_file, spec)(np.full((4, 3, 32, 32), 64, np.uint8))
    assert output.logits.tolist() == [[1.0] * 3] * 4
    assert output.embedding.tolist() == [[-1.0] * 3] * 4
    assert output.logits.dtype == np.float32


def test_a_worker_runs_on_one_thread(graph_file: Path, spec: ImageSpec) -> None:
    load_graph(graph_file, spec)
    assert torch.get_num_threads() == 1


def test_an_invalid_graph_is_refused(tmp_path: Path, spec: ImageSpec) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(ArchiveError, match=r"model\.pt is not a TorchScript graph"):
        load_graph(path, spec)


def test_a_graph_with_one_output_is_a_model_error(tmp_path: Path, spec: ImageSpec) -> None:
    path = tmp_path / "model.pt"
    torch.jit.script(torch.nn.Flatten()).save(str(path))
    with pytest.raises(ModelError, match="the model failed on a batch of shape"):
        load_graph(path, spec)


class Raising(torch.nn.Module):
    """A graph that raises. Python receives torch.jit.Error, which is not a RuntimeError."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if pixels.float().mean() > 200:
            raise RuntimeError("too bright")
        means = pixels.float().mean(dim=(2, 3))
        return means, means


def test_an_exception_of_a_graph_is_a_model_error(tmp_path: Path, spec: ImageSpec) -> None:
    path = tmp_path / "model.pt"
    torch.jit.script(Raising()).save(str(path))
    model = load_graph(path, spec)
    with pytest.raises(ModelError, match="too bright"):
        model(np.full((1, 3, 32, 32), 255, np.uint8))


def test_torchscripts_deprecation_is_not_shown_and_other_warnings_are(graph_file: Path) -> None:
    code = f"""
import warnings
from pathlib import Path
import torch
from driftserve.archive.contract import ImageSpec
from driftserve.inference.model import TORCHSCRIPT_WARNING, load_graph
warnings.resetwarnings()
warnings.simplefilter("always")
load_graph(Path({str(graph_file)!r}), ImageSpec(height=32, width=32, resize_shorter_side=36, interpolation="bilinear"))
torch.jit.script(torch.nn.Flatten())
# torch 2.14 says this; the pinned version is older
warnings.warn("`torch.jit.load` is deprecated. Please switch to `torch.export`.", FutureWarning)
warnings.warn("`torch.load` is deprecated.", FutureWarning)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "`torch.load` is deprecated." in done.stderr
    assert "torch.jit" not in done.stderr


def test_the_tests_ignore_the_same_warnings_as_the_product(pytestconfig: pytest.Config) -> None:
    ignored = [line for line in pytestconfig.getini("filterwarnings") if line.startswith("ignore") and "jit" in line]
    assert ignored == [
        f"ignore:{TORCHSCRIPT_WARNING}:{category}" for category in ("DeprecationWarning", "FutureWarning")
    ]
