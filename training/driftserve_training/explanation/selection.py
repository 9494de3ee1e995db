"""Selection of the images to explain: the most confident mistakes, and right predictions, from all classes."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import numpy.typing as npt


def select(
    probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], number: int, seed: int
) -> tuple[int, ...]:
    """Return the positions of up to `number` images: half are random correct ones, half the most confident mistakes.

    Both halves take the true classes in turn. If one kind has too few images, the other kind fills the gap.

    >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> select(sure, np.array([0, 1, 1, 1]), number=3, seed=0)
    (0, 1, 3)

    Args:
        probabilities: (N, K), of N images for K classes.
        targets: (N,) class indices.
        number: number of images to choose.
        seed: seed of the draw.
    """
    is_right = probabilities.argmax(axis=1) == targets
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = list(_round_the_classes(shuffled[is_right[shuffled]], targets))
    wrong = list(_round_the_classes(surest[~is_right[surest]], targets))
    mistakes = max(min(len(wrong), number // 2), number - len(right))
    return (*right[: number - mistakes], *wrong[:mistakes])


def _round_the_classes(order: Sequence[int] | npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> Iterator[int]:
    """Yield the first image of each class, then the second of each, and so on; each round keeps the given order."""
    ranks = {int(index): rank for rank, index in enumerate(order)}
    by_class = [[index for index in ranks if targets[index] == label] for label in np.unique(targets)]
    for turn in zip_longest(*by_class):
        yield from sorted((index for index in turn if index is not None), key=ranks.__getitem__)
