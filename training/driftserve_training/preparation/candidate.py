"""An image that asks to be in a data set."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from driftserve.errors import BadRequest
from driftserve.images.decode import decode
from driftserve_training.preparation.perceptual_hash import perceptual_hash


@dataclass(frozen=True)
class Candidate:
    """An image's file, what is said of it, and what its bytes are."""

    file: Path
    name: str
    """As the messages and rejected.csv call it."""
    split: str
    label: str
    sha256: str
    problem: str | None
    """Why no network can take it; None for most."""
    file_name: str
    """Its name in the data set."""
    perceptual_hash: int | None = None
    """What it looks like, in 64 bits; None where there is nothing to see."""
    is_new: bool = False
    """Whether it comes from annotators, and not from the fetched folders."""


@dataclass(frozen=True)
class Rejection:
    """A row of rejected.csv: what is not in the data set, and why."""

    path: str
    reason: str


def read_candidate(file: Path, name: str, split: str, label: str, smallest: int) -> Candidate:
    """The candidate that a file is, decoded once as the service decodes.

    Args:
        file: where the image lies.
        name: what to call it.
        split: the one that it asks to be in.
        label: the one that it is said to have.
        smallest: pixels that the shorter side must have.
    """
    body = file.read_bytes()
    candidate = Candidate(file, name, split, label, hashlib.sha256(body).hexdigest(), None, file.name)
    try:
        image = decode(body)
    except BadRequest as error:
        return replace(candidate, problem=f"corrupt: {error}")
    height, width, _ = image.shape
    if min(height, width) < smallest:
        problem = f"too small: {width}x{height}, expected at least {smallest} pixels on the shorter side"
        return replace(candidate, problem=problem)
    return replace(candidate, perceptual_hash=perceptual_hash(image))
