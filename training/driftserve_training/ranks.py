"""Rank of this process and number of processes in a training run, as set by torchrun."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ranks:
    """The rank of this process from 0, the total number of processes, and the number of processes on each host."""

    rank: int = 0
    processes: int = 1
    processes_per_host: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process evaluates, writes and exports for the whole run."""
        return self.rank == 0

    @property
    def hosts(self) -> int:
        """Number of hosts."""
        return self.processes // self.processes_per_host


def read_ranks() -> Ranks:
    """Read torchrun's variables; without torchrun, return the defaults for a single process."""
    if not torch.distributed.is_torchelastic_launched():
        return Ranks()
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"]))
