"""Order of the training images in each epoch: a permutation that depends only on seed and epoch."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DistributedSampler

from driftserve_training.ranks import Ranks


@dataclass(frozen=True)
class Draw:
    """Index of an image in the data set, and the epoch in which it is used."""

    epoch: int
    index: int


class EpochOrder(DistributedSampler[int]):
    """Sampler of this process's share of an epoch. It yields each index with the epoch, for the augmentation.

    Lightning sets the epoch, also when a run is resumed. All processes get shares of the same size. If the images do
    not divide evenly, a few images are used twice.
    """

    def __init__(self, images: Sized, ranks: Ranks, seed: int) -> None:
        # torch adds the epoch to the seed: seeds 0 and 1 would share orders without this hash.
        own = int(np.random.SeedSequence(seed).generate_state(1)[0])
        super().__init__(images, ranks.processes, ranks.rank, seed=own)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Draw]:  # type: ignore[override]
        for index in super().__iter__():
            yield Draw(self.epoch, index)


def seed_of(seed: int, draw: Draw) -> int:
    """Return the 32-bit seed for augmenting one image in one epoch."""
    return int(np.random.SeedSequence((seed, draw.epoch, draw.index)).generate_state(1)[0])
