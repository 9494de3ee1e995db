"""The order in which a run sees its training images: a permutation that follows from seed and epoch."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DistributedSampler

from driftserve_training.ranks import Ranks


@dataclass(frozen=True)
class Draw:
    """An image of the data set, by its index, in one epoch."""

    epoch: int
    index: int


class EpochOrder(DistributedSampler[int]):
    """The images of an epoch in this process's share, each with the epoch, so that its augmentation can follow from it.

    Lightning sets the epoch, also after a run was cut off. Of several processes each gets an equal share: a few images
    come twice where they do not divide.
    """

    def __init__(self, images: Sized, ranks: Ranks, seed: int) -> None:
        own = int(np.random.SeedSequence(seed).generate_state(1)[0])  # torch adds the epoch: seeds would share orders
        super().__init__(images, ranks.processes, ranks.rank, seed=own)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Draw]:  # type: ignore[override]
        for index in super().__iter__():
            yield Draw(self.epoch, index)


def seed_of(seed: int, draw: Draw) -> int:
    """The seed of one image's augmentation in one epoch, 32 bits; it depends on nothing else."""
    return int(np.random.SeedSequence((seed, draw.epoch, draw.index)).generate_state(1)[0])
