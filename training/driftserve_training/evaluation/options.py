"""Options of an evaluation."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AssessmentOptions:
    """The split to evaluate, and what to measure on it.

    `robustness_images` is how many images of the split to corrupt. None means all; 0 means that robustness is not
    measured. `adversary_images` is the same for attacks. `champion` is the folder of another training run, its
    predictions file, or an archive. `cache` is a folder that keeps the corrupted images for the next network.
    `workers` processes make these images; 0 means this process.
    """

    split: str = "test"
    robustness_images: int | None = 240
    adversary_images: int | None = 0
    champion: Path | None = None
    cache: Path | None = None
    batch_size: int = 32
    workers: int = 0
    seed: int = 0
