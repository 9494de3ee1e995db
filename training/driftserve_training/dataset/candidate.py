"""An image that asks to be in a data set."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from driftserve.decode import decode
from driftserve.errors import BadRequest


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
    return Candidate(file, name, split, label, hashlib.sha256(body).hexdigest(), _problem(body, smallest), file.name)


def _problem(body: bytes, smallest: int) -> str | None:
    try:
        height, width, _ = decode(body).shape
    except BadRequest as error:
        return f"corrupt: {error}"
    if min(height, width) < smallest:
        return f"too small: {width}x{height}, expected at least {smallest} pixels on the shorter side"
    return None
