"""Explanations as data: `explanations/explanations.json` stores them and the model card shows them."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.evaluation.document import Interval

FOLDER = "explanations"  # name of the folder in the training run's folder
DOCUMENT_FILE = "explanations.json"

Method = Literal["integrated_gradients", "grad_cam", "occlusion"]


@dataclass(frozen=True)
class Explanation:
    """Why one image got its predicted label.

    `image` is its path in the data set. `picture` is a file beside the document that shows the image and its
    attribution. `logits` are those of the network before export. The archive's network is compared with them.

    `deletion_auc` is the area under the probability of the predicted label while pixels are removed, the most important
    ones first. If the probability falls sooner, the area is smaller, and the attribution is better.
    `random_deletion_auc` is the same for random orders. `moved_deletion_auc` is the same for the attribution's own
    patches, moved to other places. It is needed because random orders remove scattered pixels, which alone makes the
    probability fall.

    `completeness_error` is the share of the change of the logit that the attributions miss. It is None for a method
    whose attributions need not add up to that change.
    """

    image: str
    picture: str
    label: str
    predicted: str
    probability: float
    logits: tuple[float, ...]
    deletion_auc: float
    random_deletion_auc: float
    moved_deletion_auc: float | None = None
    completeness_error: float | None = None


@dataclass(frozen=True)
class Faithfulness:
    """How well the attributions name the pixels that the network uses.

    `gain` is the mean of `random_deletion_auc - deletion_auc` over the images, with a paired bootstrap interval. Above
    0 the attributions are better than chance. `better_than_random` is the share of images where this is so. The other
    two fields are the same with `moved_deletion_auc`, the fairer comparison for attributions that lie in patches.
    """

    gain: Interval
    better_than_random: float
    gain_over_moved: Interval
    better_than_moved: float


@dataclass(frozen=True)
class RandomisedStage:
    """The rank correlation of attributions before and after all layers from the head down to `layer` are randomised.

    `layer` is timm's name of the lowest randomised layer. The correlation is Spearman's, as a mean over images. Near 0,
    the attributions depend on what the network has learned.
    """

    layer: str
    rank_correlation: float


@dataclass(frozen=True)
class Explanations:
    """The explanations of some images of a split, correctly and wrongly predicted ones, by one method.

    `steps` is the number of steps of Integrated Gradients. `seed` is for the draw of images and for the random orders.
    `randomisation` is empty if it was not requested.
    """

    method: Method
    split: str
    parity_max_abs_diff: float
    explanations: tuple[Explanation, ...]
    faithfulness: Faithfulness | None = None
    seed: int = 0
    steps: int | None = None
    randomisation: tuple[RandomisedStage, ...] = ()


_ADAPTER = TypeAdapter(Explanations)


def write_explanations(trained: Path, explanations: Explanations, pictures: Mapping[str, bytes]) -> Path:
    """Write the document and the pictures, named by file, in place of earlier ones; return the document's path.

    All files are written to a temporary folder, which is then moved into place. An interrupted run leaves the earlier
    files.
    """
    place = trained / FOLDER
    with tempfile.TemporaryDirectory(dir=trained, prefix=f".{FOLDER}-") as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        for name, picture in pictures.items():
            (new / name).write_bytes(picture)
        (new / DOCUMENT_FILE).write_bytes(_ADAPTER.dump_json(explanations, indent=2) + b"\n")
        if place.exists():
            place.rename(Path(scratch, "old"))
        new.rename(place)
    return place / DOCUMENT_FILE


def read_explanations(trained: Path) -> Explanations | None:
    """Read the explanations of a training run; return None if `explain` has not made any.

    Raises:
        DataError: the document cannot be read, or is invalid.
    """
    path = trained / FOLDER / DOCUMENT_FILE
    if not path.is_file():
        return None
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else first_problem(error).reason
        raise DataError(f"{path}: cannot read the explanations: {problem}; run `explain` again") from error
