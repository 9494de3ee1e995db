"""The result of an evaluation, as `evaluation.json` stores it and the model card shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate, and the lower and upper end of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; `images` counts the images that have its label."""

    label: str
    images: int
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Calibration:
    """How well probabilities match the accuracy; lower is better.

    `ece` is the expected calibration error over 15 bins of equal width (Naeini et al. 2015), `brier` the multi-class
    Brier score in [0, 2], `nll` the mean negative log-likelihood in nats.
    """

    ece: float
    brier: float
    nll: float


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose highest probability lies in (low, high]; bins without images are left out.

    `confidence` is the mean of their highest probabilities, `accuracy` the share of correct predictions.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class RobustnessCell:
    """The accuracy on images with one corruption at one severity."""

    corruption: str
    severity: int
    accuracy: float


@dataclass(frozen=True)
class Robustness:
    """The accuracy under fifteen corruptions at five severities.

    `clean_accuracy` is the accuracy on the same images without corruption, resized to 224x224 like the corrupted ones.
    """

    images: int
    clean_accuracy: float
    mean_corruption_accuracy: Interval
    cells: tuple[RobustnessCell, ...]


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images, compared by McNemar's exact test (see `comparison`).

    `challenger_alone_right` counts the images that only the challenger got right. `difference` is the challenger's
    accuracy minus the champion's.
    """

    champion: str
    images: int
    champion_accuracy: float
    challenger_accuracy: float
    difference: Interval
    challenger_alone_right: int
    champion_alone_right: int
    p_value: float


@dataclass(frozen=True)
class Slice:
    """The accuracy on the images whose attribute lies in [low, high]; `part` is low, middle or high."""

    attribute: str
    part: str
    low: float
    high: float
    images: int
    accuracy: Interval


@dataclass(frozen=True)
class Attack:
    """The accuracy on images that were changed by at most `epsilon` grey levels to mislead the network."""

    name: str
    epsilon: int
    images: int
    accuracy: Interval


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one network on one split.

    `confusion` has a row for each true class and a column for each predicted class, in the order of the labels. Macro
    scores are plain means over the classes; weighted scores weight each class by the number of its images.
    `images_sha256` is the `Manifest.sha256` of the evaluated split alone. `robustness` and `comparison` are None, and
    `attacks` is empty, if they were not requested. `label_issues` counts the images whose label is probably wrong; it
    is None for the images that the network was trained on.
    """

    split: str
    images: int
    labels: tuple[str, ...]
    network: str
    images_sha256: str
    temperature: float
    accuracy: Interval
    macro_f1: Interval
    macro_precision: Interval
    macro_recall: Interval
    weighted_f1: Interval
    weighted_precision: Interval
    weighted_recall: Interval
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    uncalibrated: Calibration
    calibrated: Calibration
    reliability: tuple[ReliabilityBin, ...]
    robustness: Robustness | None = None
    comparison: Comparison | None = None
    slices: tuple[Slice, ...] = ()
    attacks: tuple[Attack, ...] = ()
    label_issues: int | None = None
