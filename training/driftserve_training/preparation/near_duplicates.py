"""Find near-duplicates: images with different bytes that show the same picture in two splits.

A training image that is almost the same as a test image leaks the answer, and the test scores are too good. Each split
is compared with the splits that take precedence over it (see `checks`). Each image is listed at most once, with its
nearest match, so the list stays short even for many frames of one film.
"""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from driftserve_training.preparation.candidate import Candidate, Rejection
from driftserve_training.preparation.checks import PRECEDENCE

NEAR_DUPLICATES_FILE = "near_duplicates.csv"
# Near-duplicates differ in at most this many of the 64 hash bits. docs/training.md shows the measurement on 5,520
# Intel images, 15 million pairs.
MOST_DISTANCE = 8

Treatment = Literal["list", "refuse", "drop"]

_PAIRS_AT_ONCE = 2**21  # pairs of hashes that are compared at once, in 16 MB
_COLUMNS = ("path", "split", "other_path", "other_split", "distance")


@dataclass(frozen=True)
class NearDuplicate:
    """An image, its nearest match in a split that takes precedence, and the number of differing hash bits, of 64."""

    path: str
    split: str
    other_path: str
    other_split: str
    distance: int

    @property
    def rejection(self) -> Rejection:
        """Row of rejected.csv if the image is dropped."""
        return Rejection(self.path, f"nearly the same picture as {self.other_path} in {self.other_split}")


def find_near_duplicates(
    candidates: Sequence[Candidate], most_distance: int = MOST_DISTANCE
) -> tuple[NearDuplicate, ...]:
    """Find the images with a near-duplicate in a split that takes precedence: test, then val, then stream, then train.

    Images without a perceptual hash are ignored.
    """
    ranked = [(PRECEDENCE.index(one.split), one) for one in candidates if one.perceptual_hash is not None]
    ranked.sort(key=lambda pair: (pair[0], pair[1].name))
    images = [one for _, one in ranked]
    ranks = np.array([rank for rank, _ in ranked])
    hashes = np.array([one.perceptual_hash for one in images], np.uint64)
    near_duplicates = []
    for rank in np.unique(ranks)[1:]:
        indices = np.flatnonzero(ranks == rank)
        nearest, distances = _nearest(hashes[indices], hashes[: indices[0]])
        for index, other, distance in zip(indices, nearest, distances, strict=True):
            if distance <= most_distance:
                one, match = images[index], images[other]
                near_duplicates.append(NearDuplicate(one.name, one.split, match.name, match.split, int(distance)))
    return tuple(sorted(near_duplicates, key=lambda near: near.path))


def write_near_duplicates(near_duplicates: Sequence[NearDuplicate], path: Path) -> None:
    """Write near-duplicates as CSV: path, split, other_path, other_split, distance."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(near) for near in near_duplicates)


def _nearest(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return, for each of N hashes, the index of the nearest of M other hashes and the number of differing bits.

    If several others are equally near, return the first.
    """
    nearest, distances = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.uint8)
    rows = max(1, _PAIRS_AT_ONCE // len(others))
    for start in range(0, len(hashes), rows):
        block = slice(start, start + rows)
        differing = np.bitwise_count(hashes[block, None] ^ others[None])  # (rows, M) uint8
        nearest[block] = differing.argmin(axis=1)
        distances[block] = differing.min(axis=1)
    return nearest, distances
