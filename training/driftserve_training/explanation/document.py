"""What the explanations show, as `explanations/explanations.json` holds it and the model card shows it."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.evaluation.document import Interval

FOLDER = "explanations"  # in that of the training run
DOCUMENT_FILE = "explanations.json"

Method = Literal["integrated_gradients", "grad_cam", "occlusion"]


@dataclass(frozen=True)
class Explanation:
    """Why one image got the label that it got.

    `image` is its path in the data set, `picture` the file beside the document that shows it and its attribution.
    `logits` are the eager network's, for the archive's graph to be held against. The two deletion curves give the
    mean probability of the predicted label while its most important pixels, or random ones, are taken away first: the
    sooner it falls, the smaller the area under it, and the more the attribution says. `moved_deletion_auc` is that of
    the attribution's own patches, moved about: random orders scatter, and fell a label by that alone.
    `completeness_error` is by how much the attributions miss the change of the logit that they divide up, as a share
    of it; None where a method makes no such promise.
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
    """How far the attributions name what the network goes by.

    `gain` is the mean over the images of `random_deletion_auc - deletion_auc`, its interval by a paired bootstrap;
    above 0 the attributions say more than chance. `better_than_random` is the share of images of which that is so.
    The other two are the same over `moved_deletion_auc`, the fairer one for a method whose attributions lie in patches.
    """

    gain: Interval
    better_than_random: float
    gain_over_moved: Interval
    better_than_moved: float


@dataclass(frozen=True)
class RandomisedStage:
    """The rank correlation of the attributions with those of the network that has forgotten all from its head down.

    `layer` is timm's name of the lowest layer that was drawn anew; the correlation, Spearman's, is the mean over
    images. Near 0 the attributions were of what the network had learned.
    """

    layer: str
    rank_correlation: float


@dataclass(frozen=True)
class Explanations:
    """The explanations of some images of a split, right and wrong ones, by one method.

    `steps` are those of Integrated Gradients' path, `seed` that of the draw of images and of random orders.
    `randomisation` is empty where it was not asked for.
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
    """Write the document and its pictures, by their file names, in place of an earlier set; the document's path.

    The set is written whole beside its place and moved there, so that a run that is cut off leaves the earlier one.
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
    """The explanations of a training run, or None where `explain` has not made any.

    Raises:
        DataError: the document is none.
    """
    path = trained / FOLDER / DOCUMENT_FILE
    if not path.is_file():
        return None
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else first_problem(error).reason
        raise DataError(f"{path}: expected explanations, got {problem}; run `explain` again") from error
