"""The plan of a search: space, sampler, pruner and ranking; and a check that two searches are the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from driftserve.errors import DataError
from driftserve.images.files import check_names
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.search.space import Point, Space

Sampler = Literal["grid", "tpe"]
Pruner = Literal["median", "none"]
RankBy = Literal["validation", "test"]

SEARCHED = tuple(Point.__dataclass_fields__)  # names of the searched parameters
# Parameters that may differ between the machines of one search: paths, and the number of loader processes.
_MACHINE_FIELDS = ("data", "output", "weights", "loader_workers")


@dataclass(frozen=True)
class Plan:
    """A search: `trials` combinations of a space, each trained for `epochs`; none is pruned during `warmup_epochs`."""

    space: Space
    sampler: Sampler
    pruner: Pruner
    rank_by: RankBy
    trials: int
    epochs: int
    warmup_epochs: int
    seed: int


def make_plan(
    configuration: TrainingConfiguration,
    space: Space,
    sampler: Sampler = "grid",
    trials: int | None = None,
    pruner: Pruner = "median",
    rank_by: RankBy = "validation",
) -> Plan:
    """Return the plan of a search that trains with a configuration; a grid has one trial for each combination.

    Raises:
        DataError: the sampler is `grid` and `trials` is given, or the sampler is `tpe` and `trials` is missing.
    """
    combinations = len(space.combinations())
    if sampler == "grid" and trials is not None:
        raise DataError(
            f"expected no number of trials with a grid, which runs each of its {combinations} combinations once, "
            f"got {trials}; omit --trials, or choose the sampler tpe"
        )
    if sampler == "tpe" and trials is None:
        raise DataError("expected a number of trials with the sampler tpe, got none; give --trials")
    return Plan(
        space=space,
        sampler=sampler,
        pruner=pruner,
        rank_by=rank_by,
        trials=trials or combinations,
        epochs=configuration.epochs,
        # While only the head learns, the accuracy of a network says little about its final accuracy.
        warmup_epochs=1 + (configuration.head_epochs if configuration.is_pretrained else 0),
        seed=configuration.seed,
    )


def identify(plan: Plan, configuration: TrainingConfiguration, manifest_sha256: str) -> dict[str, object]:
    """Return all that must be equal for trials to be comparable, as JSON values.

    The number of trials is left out, because a search with the sampler `tpe` may continue with more trials. Files are
    compared by content.
    """
    fixed = configuration.model_dump(mode="json", exclude={*_MACHINE_FIELDS, *SEARCHED})
    if Path(configuration.augmentation).is_file():
        fixed["augmentation"] = _digest(Path(configuration.augmentation))
    space = {name: list(values) for name, values in asdict(plan.space).items()}
    walk = {"sampler": plan.sampler, "pruner": plan.pruner, "rank_by": plan.rank_by}
    weights = _digest(configuration.weights) if configuration.weights else None
    return {"images": manifest_sha256, "weights": weights} | space | walk | fixed


def check_same_search(begun: Mapping[str, object], identity: Mapping[str, object], study: str) -> None:
    """Check that a study is of this search.

    Raises:
        DataError: another search started the study; the message names the first difference.
    """
    for name in dict.fromkeys((*begun, *identity)):
        if begun.get(name) != identity.get(name):
            raise DataError(
                f"expected {name} {begun.get(name)}, as in the study {study!r}, got {identity.get(name)}; "
                "give the same value, or another --output"
            )


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    shown = [file for file in files if not file.name.startswith(".")]  # `.DS_Store` changes by itself
    check_names(path, [file.relative_to(path.parent) for file in shown])
    digest = hashlib.sha256()
    for file in shown:
        if file.is_file():
            digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
