"""What a search is told: the space, how it is walked, what decides; and what makes two searches the same one."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.search.space import Point, Space

Sampler = Literal["grid", "tpe"]
Pruner = Literal["median", "none"]
RankBy = Literal["validation", "test"]

SEARCHED = tuple(Point.__dataclass_fields__)
# Where things lie and how fast they are read may differ between the machines of one search.
_MACHINE_FIELDS = ("data", "output", "weights", "loader_workers")


@dataclass(frozen=True)
class Plan:
    """A search: `trials` combinations of a space, each trained for `epochs`; none is given up in the first ones."""

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
    """The plan of a search whose trials are trained by a configuration; a grid has as many as there are combinations.

    Raises:
        DataError: a number of trials is given to a grid, or none to a sampler that draws.
    """
    combinations = len(space.combinations())
    if sampler == "grid" and trials is not None:
        raise DataError(
            f"expected no number of trials with a grid, which runs its {combinations} combinations once, "
            f"got {trials}; leave it out, or choose the sampler tpe"
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
        # While its head learns alone, a network tells little of what it will be worth.
        warmup_epochs=1 + (configuration.head_epochs if configuration.is_pretrained else 0),
        seed=configuration.seed,
    )


def identify(plan: Plan, configuration: TrainingConfiguration, manifest_sha256: str) -> dict[str, object]:
    """What has to be the same for trials to be held against each other, as JSON has it.

    The number of trials is not: a search by TPE may go on for longer. Files count by their content.
    """
    fixed = configuration.model_dump(mode="json", exclude={*_MACHINE_FIELDS, *SEARCHED})
    if Path(configuration.augmentation).is_file():
        fixed["augmentation"] = _digest(Path(configuration.augmentation))
    space = {name: list(values) for name, values in asdict(plan.space).items()}
    walk = {"sampler": plan.sampler, "pruner": plan.pruner, "rank_by": plan.rank_by}
    weights = _digest(configuration.weights) if configuration.weights else None
    return {"images": manifest_sha256, "weights": weights} | space | walk | fixed


def check_same_search(begun: Mapping[str, object], identity: Mapping[str, object], study: str) -> None:
    """Pass if a study is of this search.

    Raises:
        DataError: it was begun as another one; the message names the first difference.
    """
    for name in dict.fromkeys((*begun, *identity)):
        if begun.get(name) != identity.get(name):
            raise DataError(
                f"expected {name} {begun.get(name)} as the study {study!r} was begun with, got {identity.get(name)}; "
                "give it again, or another --output"
            )


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
