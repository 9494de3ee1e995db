"""What an evaluation is told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AssessmentOptions:
    """How far to evaluate.

    `robustness_images` of the split are corrupted: None: all, 0: none, and robustness is not measured;
    `adversary_images`, of the same meaning, are attacked. `champion` is the folder of another training run, its
    predictions, or an archive. `cache` keeps corrupted images for the next network, which `workers` processes make,
    0: this one.
    """

    split: str = "test"
    robustness_images: int | None = 240
    adversary_images: int | None = 0
    champion: Path | None = None
    cache: Path | None = None
    batch_size: int = 32
    workers: int = 0
    seed: int = 0
