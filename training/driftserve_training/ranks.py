"""The processes of one training run, as torchrun numbers them."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ranks:
    """Which process this one is, of how many in all and on each host."""

    rank: int = 0
    processes: int = 1
    processes_per_host: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process evaluates, writes and exports, for all of them."""
        return self.rank == 0

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return self.processes // self.processes_per_host


def read_ranks() -> Ranks:
    """The place of this process by torchrun's variables; the only one where torchrun has not started it."""
    if not torch.distributed.is_torchelastic_launched():
        return Ranks()
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"]))
