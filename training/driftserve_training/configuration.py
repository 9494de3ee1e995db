"""What a training run is told: one typed object, whoever tells it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SPLITS = ("train", "val", "test")
# Held-out traffic, where there is some: never trained on, but read, so that it cannot leak into the others.
STREAM = "stream"

# The parameters that say where things lie, and change no result.
LOCATION_FIELDS = ("data", "train_data", "val_data", "test_data", "output", "weights")

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]


class Locations(BaseModel):
    """Where the images lie: in one folder, or each split somewhere else."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    data: Path | None = None
    """Folder with train/, val/ and test/, each <class>/<image>, as `preprocess` writes it."""

    train_data: Path | None = None
    """Folder with <class>/<image> to train on, in place of train/ in `data`."""

    val_data: Path | None = None
    """The same to choose the best epoch by, in place of val/."""

    test_data: Path | None = None
    """The same to test on, in place of test/: read, so that none of it is among the others."""


class TrainingConfiguration(Locations):
    """The choices of one run; the same names as flags, in YAML, as hyperparameters and as environment variables."""

    output: Path
    """Folder for weights, scores and TensorBoard logs; a run that was cut off in it goes on."""

    weights: Path | None = None
    """A timm weights file, <file>.json beside it its record; or a folder of such, the model's own is taken."""

    model: str | None = Field(default=None, min_length=1)
    """Any timm model; by default that of the weights' record, else the search's winner."""

    pretrained: bool = True
    """Whether timm downloads weights where none are given."""

    image_size: int | None = Field(default=None, ge=1, le=2048)
    """Side of the network's input in pixels; by default the pretrained one's."""

    epochs: int = Field(default=4, ge=1)
    """Passes over the training images."""

    head_epochs: int = Field(default=1, ge=0)
    """Epochs in which a pretrained network's head learns alone."""

    batch_size: int = Field(default=32, ge=1)
    """Images of a step in each process."""

    optimizer: str = Field(default="adamw", min_length=1)
    """Any of timm's optimizers."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """The highest rate, after the warm-up."""

    features_rate: float = Field(default=0.1, ge=0)
    """The pretrained features' share of the learning rate."""

    weight_decay: float = Field(default=0.02, ge=0)
    """Of the optimizer."""

    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises, before it falls as a cosine."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Of the cross-entropy."""

    augmentation: str = Field(default="light", min_length=1)
    """`none`, `light`, `realistic`, or a file with an albumentations pipeline as JSON."""

    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup, which blends pairs of images and their labels; 0: none."""

    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of CutMix, which pastes a part of another image; 0: none. Of both, each batch gets one."""

    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Of the moving average of the weights, which is validated and kept in their place; 0: none."""

    patience: int = Field(default=0, ge=0)
    """Epochs without a better validation loss after which training ends early; 0: none end it."""

    precision: Precision = "auto"
    """Of the arithmetic: `32-true`, `16-mixed`, `bf16-mixed`; `auto`: 16-mixed on a GPU, 32-true elsewhere."""

    loader_workers: int = Field(default=0, ge=0)
    """Processes that read images, for each process that trains; 0: none."""

    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Of the weights, the order and the augmentation."""

    def within(self, data: Path) -> "TrainingConfiguration":
        """The same, all splits in one folder."""
        return self.model_copy(update={"data": data, "train_data": None, "val_data": None, "test_data": None})

    def choices(self) -> dict[str, object]:
        """All but where things lie, as JSON has them."""
        return self.model_dump(mode="json", exclude=set(LOCATION_FIELDS))

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from weights that have seen other images."""
        return self.pretrained or self.weights is not None
