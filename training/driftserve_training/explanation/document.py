"""What the explanations show, as `explanations/explanations.json` holds it and the model card shows it."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["integrated_gradients", "grad_cam", "occlusion"]


@dataclass(frozen=True)
class Explanation:
    """Why one image got the label that it got.

    `image` is its path in the data set, `picture` the file beside the document that shows it and its attribution.
    `logits` are the eager network's, for the archive's graph to be held against. The two deletion curves give the
    mean probability of the predicted label while its most important pixels, or random ones, are taken away first: the
    sooner it falls, the smaller the area under it, and the more the attribution says.
    """

    image: str
    picture: str
    label: str
    predicted: str
    probability: float
    logits: tuple[float, ...]
    deletion_auc: float
    random_deletion_auc: float


@dataclass(frozen=True)
class Explanations:
    """The explanations of some images of a split, right and wrong ones, by one method."""

    method: Method
    split: str
    parity_max_abs_diff: float
    explanations: tuple[Explanation, ...]
