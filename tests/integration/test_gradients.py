"""Two processes learn the same as one process with the same global batch."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from driftserve.host.ports import free_ports
from driftserve_demo.synthetic import write_dataset
from warm_interpreter import WarmInterpreter

PATIENCE_SECONDS = 300


@pytest.mark.timeout(900)  # a slow machine must not fail the test
def test_two_processes_compute_the_same_gradients_as_one(tmp_path: Path, warm: WarmInterpreter) -> None:
    write_dataset(tmp_path / "data", {"train": 8, "val": 2, "test": 2}, seed=5)
    port = str(free_ports(1)[0])
    for name, processes, batch_size in (("one", 1, 16), ("two", 2, 8)):
        arguments = ("first_step_gradients", str(tmp_path / name), str(tmp_path / "data"), str(batch_size))
        with ExitStack() as stack:
            ranks = []
            for rank in range(processes):
                environment = {"OMP_NUM_THREADS": "1"} | (_torchrun(rank, processes, port) if processes > 1 else {})
                log = tmp_path / f"{name}-{rank}.log"
                ranks.append(stack.enter_context(warm.running(*arguments, environment=environment, log=log)))
            for rank, process in enumerate(ranks):
                assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / f"{name}-{rank}.log").read_text()
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert len(one) > 20
    assert max(float(value.abs().max()) for value in one.values()) > 1e-2
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=0, atol=1e-5), name


def _torchrun(rank: int, processes: int, port: str) -> dict[str, str]:
    """Return the variables that torchrun sets for a process on a single host, by its documentation."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "ROLE_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "ROLE_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "none",
    }
