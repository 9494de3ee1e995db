"""Check which candidates can be in one data set.

Rules for images with the same bytes:

- Different labels: none is kept, because the right label is unknown.
- Different splits: the image in the split that is hardest to replace is kept: test, then val, then stream, then train.
- One split: the first by name is kept; this is not a fault of the data.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from driftserve.errors import DataError
from driftserve_training.configuration import STREAM
from driftserve_training.dataset.manifest import check_dimensions
from driftserve_training.preparation.candidate import Candidate, Rejection

PRECEDENCE = ("test", "val", STREAM, "train")


@dataclass(frozen=True)
class CheckResult:
    """The candidates to keep, the faults of the data, and the repeats, which are dropped but are not faults."""

    kept: tuple[Candidate, ...]
    faults: tuple[Rejection, ...]
    repeats: tuple[Rejection, ...]


def check(candidates: Iterable[Candidate]) -> CheckResult:
    """Sort the candidates into kept ones, faults and repeats, by the rules of this module."""
    kept: list[Candidate] = []
    faults: list[Rejection] = []
    repeats: list[Rejection] = []
    by_digest: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.problem:
            faults.append(Rejection(candidate.name, candidate.problem))
        else:
            by_digest[candidate.sha256].append(candidate)
    for same in by_digest.values():
        if len({candidate.label for candidate in same}) > 1:
            faults += _conflicts(same)
            continue
        first, *others = sorted(same, key=lambda one: (PRECEDENCE.index(one.split), one.name))
        kept.append(first)
        for other in others:
            if other.split == first.split:
                repeats.append(Rejection(other.name, f"the same bytes as {first.name}, which is kept"))
            else:
                faults.append(Rejection(other.name, f"in two splits: the same bytes as {first.name}"))
    return CheckResult(tuple(kept), tuple(faults), tuple(repeats))


def check_classes(candidates: Sequence[Candidate], origin: str) -> None:
    """Raise unless all splits have the same classes, at least two.

    Raises:
        DataError: a split lacks a class that another split has, or there is only one class.
    """
    labels = {candidate.label for candidate in candidates}
    if len(labels) < 2:
        raise DataError(f"{origin}: expected at least 2 classes, got {', '.join(labels) or 'none'}; add images")
    check_dimensions(labels, origin)
    lacking = []
    for split in dict.fromkeys(candidate.split for candidate in candidates):
        present = {candidate.label for candidate in candidates if candidate.split == split}
        lacking += [f"no {label} in {split}" for label in sorted(labels - present)]
    if lacking:
        raise DataError(
            f"{origin}: expected images of every class in every split, got {', '.join(lacking)}; add some, or remove "
            "the class from every split"
        )


def _conflicts(same: Sequence[Candidate]) -> list[Rejection]:
    rejections = []
    for one in same:
        other = next(other for other in same if other.label != one.label)
        reason = f"labelled {one.label}, but {other.name} with the same bytes is labelled {other.label}"
        rejections.append(Rejection(one.name, reason))
    return rejections
