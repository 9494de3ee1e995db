"""What an evaluation found, as `evaluation.json` holds it and the model card shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class, over the images that are or were taken to be of it."""

    label: str
    images: int
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed; less is better.

    `ece` is the expected calibration error over 15 bins of equal width (Naeini et al. 2015), `brier` the multi-class
    Brier score in [0, 2], `nll` the mean negative log-likelihood in nats.
    """

    ece: float
    brier: float
    nll: float


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose highest probability lies in (low, high]: how sure the network was, how often it was right.

    A bin without images is left out.
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

    `clean_accuracy` is of the same images uncorrupted, at the 224x224 pixels of the corruptions.
    """

    images: int
    clean_accuracy: float
    mean_corruption_accuracy: Interval
    cells: tuple[RobustnessCell, ...]


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images: McNemar's exact test over those that one alone got right."""

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
    """The images with an attribute in [low, high], the `part` (low, middle, high) of all of them."""

    attribute: str
    part: str
    low: float
    high: float
    images: int
    accuracy: Interval


@dataclass(frozen=True)
class Attack:
    """The accuracy on images that were changed by at most `epsilon` grey levels so as to be mistaken."""

    name: str
    epsilon: int
    images: int
    accuracy: Interval


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one network on one split.

    `confusion` has a row a true class and a column a predicted one, in the labels' order. Macro scores are means over
    the classes, weighted ones are weighted by their images. `images_sha256` is the digest of the images that were
    evaluated, `Manifest.sha256` of the split alone. `robustness` and `comparison` are None, and
    `attacks` empty, where not asked for. `label_issues` counts the images whose label is probably wrong; None for those
    that the network was trained on.
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
