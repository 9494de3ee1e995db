"""Two processes and one, on the same global batch, learn the same."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from checkout import TESTS
from driftserve.host.ports import free_ports
from driftserve_demo.synthetic import write_dataset

SCRIPT = TESTS / "first_step_gradients.py"


def test_two_processes_and_one_agree_in_gradients(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", {"train": 8, "val": 2, "test": 2}, seed=5)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_ports(1)[0]}"]
    for command, name, batch_size in [([], "one", 16), (torchrun, "two", 8)]:
        subprocess.run(
            [sys.executable, *command, str(SCRIPT), str(tmp_path / name), str(tmp_path / "data"), str(batch_size)],
            check=True,
            capture_output=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=120,
        )
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert len(one) > 20
    assert max(float(value.abs().max()) for value in one.values()) > 1e-2
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=0, atol=1e-5), name
