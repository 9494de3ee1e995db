"""The validation split of a data set that came without one."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from driftserve_training.preparation.candidate import Candidate


def split_off_validation(candidates: Sequence[Candidate], fraction: float, seed: int) -> list[Candidate]:
    """The candidates, some of train's now val's; as they are where val is there already.

    Of a class at least one image is chosen and one is not, whatever the fraction. New images of annotators stay.

    Args:
        candidates: those that are kept.
        fraction: of each class's training images, to choose.
        seed: of the choice.
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
    """A number in [0, 1) for an image: below the fraction asked for, it is a validation image.

    It hangs on the image's bytes and the seed only, so other images that come or go move none.

    >>> 0 <= validation_share("00ff", seed=0) < 1
    True
    """
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
