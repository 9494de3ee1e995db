"""A candidate: an image that may become part of the data set."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from driftserve.errors import BadRequest
from driftserve.images.decode import decode
from driftserve_training.preparation.perceptual_hash import perceptual_hash


@dataclass(frozen=True)
class Candidate:
    """An image file with its split, its label, and facts computed from its bytes."""

    file: Path
    name: str
    """Name in messages and in rejected.csv."""
    split: str
    label: str
    sha256: str
    problem: str | None
    """Why the image cannot be used; None if it can."""
    file_name: str
    """File name in the data set."""
    perceptual_hash: int | None = None
    """Perceptual hash, 64 bits; None if the image is unusable or almost uniform."""
    is_new: bool = False
    """True if annotators added the image, False if it was in the fetched folders."""


@dataclass(frozen=True)
class Rejection:
    """A row of rejected.csv: an image that is not in the data set, and the reason."""

    path: str
    reason: str


def read_candidate(file: Path, name: str, split: str, label: str, smallest: int) -> Candidate:
    """Read a file and return it as a candidate; decode the image once, with the decoder of the service.

    Args:
        file: path of the image.
        name: name in messages.
        split: split of the image in its source.
        label: label of the image in its source.
        smallest: minimum length of the shorter side, in pixels.
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
