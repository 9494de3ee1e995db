"""Split off validation images from a data set that has no validation split."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from driftserve_training.preparation.candidate import Candidate


def split_off_validation(candidates: Sequence[Candidate], fraction: float, seed: int) -> list[Candidate]:
    """Move some training images to val and return all candidates; change nothing if val already has images.

    Whatever the fraction, at least one image of each class moves and at least one stays. New images from annotators
    stay in train.

    Args:
        candidates: the usable candidates.
        fraction: fraction of each class's training images to move.
        seed: seed of the choice.
    """
    if any(candidate.split == "val" for candidate in candidates):
        return list(candidates)
    shares: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in candidates:
        if one.split == "train" and not one.is_new:
            shares[one.label][one.sha256] = validation_share(one.sha256, seed)
    chosen: set[str] = set()
    for by_digest in shares.values():
        ordered = sorted(by_digest, key=by_digest.__getitem__)
        below = sum(share < fraction for share in by_digest.values())
        chosen.update(ordered[: min(max(below, 1), len(ordered) - 1)])
    return [replace(one, split="val") if one.split == "train" and one.sha256 in chosen else one for one in candidates]


def validation_share(sha256: str, seed: int) -> float:
    """Return a number in [0, 1) for an image; the image moves to val if it is below the fraction.

    The number depends only on the bytes of the image and the seed, so adding or removing other images does not change
    it.

    >>> 0 <= validation_share("00ff", seed=0) < 1
    True
    """
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
