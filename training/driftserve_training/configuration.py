"""What a training run is told."""

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")
# Held-out traffic, where there is some: never trained on, but read, so that it cannot leak into the others.
STREAM = "stream"


@dataclass(frozen=True)
class TrainingConfiguration:
    """The choices of one run.

    `model` is timm's name for the network, None where the weights' own record gives it.
    `weights` is a timm weights file; without one, `pretrained` says whether timm downloads its own.
    A pretrained network's head learns alone for `head_epochs`; after that the features learn too, at
    `features_rate` times the head's `learning_rate`.
    `image_size` is the side of the network's input in pixels, None for the pretrained one's.
    """

    data: Path
    output: Path
    model: str | None = None
    weights: Path | None = None
    pretrained: bool = True
    image_size: int | None = None
    epochs: int = 4
    head_epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 3e-3
    features_rate: float = 0.1
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    loader_workers: int = 0
    seed: int = 0

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from weights that have seen other images."""
        return self.pretrained or self.weights is not None
