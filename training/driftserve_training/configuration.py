"""All parameters of a training run, whatever their source."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SPLITS = ("train", "val", "test")
# Optional held-out traffic. It is never trained on, but it is read to check that no image leaks into the other splits.
STREAM = "stream"

# Parameters that are paths. They do not change the result.
LOCATION_FIELDS = ("data", "train_data", "val_data", "test_data", "output", "weights")

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]


class Locations(BaseModel):
    """Paths of the images: one folder for all splits, or one for each split."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    data: Path | None = None
    """Folder with train/, val/ and test/, each with <class>/<image>. `preprocess` writes this layout."""

    train_data: Path | None = None
    """Folder of training images, <class>/<image>. Replaces train/ in --data."""

    val_data: Path | None = None
    """Folder of validation images, <class>/<image>. Replaces val/ in --data."""

    test_data: Path | None = None
    """Folder of test images, <class>/<image>. Replaces test/ in --data. An image in two splits is an error."""


class TrainingConfiguration(Locations):
    """Parameters of one run. Flags, YAML, hyperparameters and environment variables use the same names."""

    output: Path
    """Folder for weights, scores and TensorBoard logs. An interrupted run in this folder is resumed."""

    weights: Path | None = None
    """A timm weights file; <file>.json beside it may describe it. Or a folder of them: the one for --model is used."""

    model: str | None = Field(default=None, min_length=1)
    """Name of a timm model. If --weights has a <file>.json, the default is the model that it names."""

    pretrained: bool = True
    """Download timm's pretrained weights if no weights are given."""

    image_size: int | None = Field(default=None, ge=1, le=2048)
    """Height and width of the network's input in pixels. By default, the input size of the pretrained network."""

    epochs: int = Field(default=4, ge=1)
    """Number of passes over the training images."""

    head_epochs: int = Field(default=1, ge=0)
    """Number of epochs at the start that train only the head (the last layer) of a pretrained network."""

    batch_size: int = Field(default=32, ge=1)
    """Number of images per step in each process."""

    optimizer: str = Field(default="adamw", min_length=1)
    """Name of a timm optimizer."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate, reached after the warm-up."""

    features_rate: float = Field(default=0.1, ge=0)
    """Learning rate of the pretrained layers, as a fraction of that of the head. Not used if --head-epochs is 0."""

    weight_decay: float = Field(default=0.02, ge=0)
    """Weight decay of the optimizer."""

    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the steps in which the learning rate rises. In the other steps it falls to 0 along a cosine."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing of the cross-entropy loss."""

    augmentation: str = Field(default="light", min_length=1)
    """Random changes of training images. `light`: flips, small shifts, turns and colour changes. `realistic`: also
    weather, blur, noise and JPEG compression. `none`: no changes. Or a JSON file with an albumentations pipeline."""

    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup, which blends pairs of images and their labels; 0 disables it."""

    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of CutMix, which pastes a part of another image; 0 disables it. If mixup is also on, each batch uses
    only one of the two, at random."""

    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights; 0 disables it. The average is validated and saved as the weights."""

    patience: int = Field(default=0, ge=0)
    """Number of epochs without a better validation loss before training stops early; 0 disables early stopping."""

    precision: Precision = "auto"
    """Floating-point precision: `32-true`, `16-mixed`, `bf16-mixed`; `auto` is 16-mixed on a GPU, else 32-true."""

    loader_workers: int = Field(default=0, ge=0)
    """Number of image loading processes per training process; 0 loads images in the training process."""

    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Random seed of the initial weights, the image order and the augmentation."""

    def within(self, data: Path) -> "TrainingConfiguration":
        """Return a copy that reads all splits from one folder."""
        return self.model_copy(update={"data": data, "train_data": None, "val_data": None, "test_data": None})

    def choices(self) -> dict[str, object]:
        """Return all parameters except paths, as JSON values."""
        return self.model_dump(mode="json", exclude=set(LOCATION_FIELDS))

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from pretrained weights."""
        return self.pretrained or self.weights is not None
