"""Classifier network: a timm model with built-in normalisation, from uint8 pixels to logits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from torch import nn

from driftserve.archive.contract import ImageSpec
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.network.weights import (
    LOADING_ERRORS,
    Channels,
    WeightsRecord,
    downloaded_weights,
    find_weights,
    not_finite,
    read_weights_record,
    to_reason,
)

_TIMM_LICENSE = "as timm states for its weights"


@dataclass(frozen=True)
class NetworkRecord:
    """All that is needed to rebuild the network: timm's model name and arguments, the normalisation, the input."""

    model: str
    model_kwargs: dict[str, str | int | float | bool]
    classes: int
    mean: Channels
    std: Channels
    image_spec: ImageSpec
    weights_license: str


class Classifier(nn.Module):
    """Network that maps N images, (N, 3, H, W) uint8, to logits of K classes, (N, K) float32; it also normalises."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        # Multiplied by 255, so that one subtraction and one division do both scaling and normalisation.
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255.0 * torch.tensor(std).view(1, 3, 1, 1))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the normalised input of the backbone (timm's model), (N, 3, H, W) float32."""
        return (pixels.float() - self.mean) / self.std

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the last layer, which is not pretrained."""
        heads = self.backbone.get_classifier()  # type: ignore[operator]
        for head in heads if isinstance(heads, tuple) else (heads,):  # a distilled network has two
            yield from head.parameters()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits, (N, K)."""
        logits: torch.Tensor = self.backbone(self.normalise(pixels))
        return logits


def create_classifier(configuration: TrainingConfiguration, classes: int) -> tuple[Classifier, NetworkRecord]:
    """Create the network to train, with its pretrained weights, and the record to rebuild it.

    Raises:
        DataError: timm does not know the model, or its weights cannot be loaded.
    """
    weights = find_weights(configuration.weights, configuration.model) if configuration.weights else None
    weights_record = read_weights_record(weights) if weights else None
    name = configuration.model or (weights_record.model if weights_record else None)
    if name is None:
        raise DataError(
            "expected the name of a timm model, got none; give --model, or weights with a record <file>.json"
        )
    if weights_record is not None and name != weights_record.model:
        raise DataError(f"{weights}: expected weights of {name}, got weights of {weights_record.model}")
    arguments = _model_arguments(name, weights_record, configuration.image_size)
    backbone = _create_backbone(name, arguments, classes, configuration.is_pretrained, weights, weights_record)
    if configuration.is_pretrained:
        _check_weights(backbone, name)
    record = _describe(backbone, name, arguments, classes, configuration, weights_record)
    classifier = Classifier(backbone, record.mean, record.std)
    if configuration.is_pretrained:  # a zero head starts with uniform output; timm's initialisation cost a whole epoch
        for parameter in classifier.head_parameters():
            nn.init.zeros_(parameter)
    return classifier.to(memory_format=torch.channels_last), record  # type: ignore[call-overload]


def pretrained_file(configuration: TrainingConfiguration, model: str) -> Path | None:
    """Return the file with the pretrained weights of a network that was just created; None if it has none."""
    if configuration.weights:
        return find_weights(configuration.weights, model)
    known = timm.get_pretrained_cfg(model)
    return downloaded_weights(known.hf_hub_id if known else None) if configuration.is_pretrained else None


def rebuild_classifier(record: NetworkRecord) -> Classifier:
    """Build the network of a record, without loading its weights."""
    arguments: dict[str, Any] = dict(record.model_kwargs)
    backbone = timm.create_model(record.model, num_classes=record.classes, **arguments)
    return Classifier(backbone, record.mean, record.std)


def _model_arguments(
    name: str, weights_record: WeightsRecord | None, image_size: int | None
) -> dict[str, str | int | float | bool]:
    """Return the arguments for timm's constructor, which the record keeps to rebuild the network."""
    if not timm.is_model(name.split(".")[0]):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        raise DataError(f"expected a timm model, got {name!r}; similar names: {close}")
    arguments = dict(weights_record.model_kwargs) if weights_record else {}
    pretrained_cfg = timm.get_pretrained_cfg(name)
    if image_size and pretrained_cfg and pretrained_cfg.fixed_input_size:
        arguments["img_size"] = image_size  # a transformer is built for one size
    return arguments


def _create_backbone(
    name: str,
    arguments: dict[str, Any],
    classes: int,
    is_pretrained: bool,
    weights: Path | None,
    weights_record: WeightsRecord | None,
) -> nn.Module:
    if weights is not None:
        overlay: dict[str, object] = {"file": str(weights)}
        if weights_record is not None:
            overlay |= weights_record.model_dump(include={"mean", "std", "input_size", "interpolation"})
        arguments = arguments | {"pretrained_cfg_overlay": overlay}
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=is_pretrained, num_classes=classes, **arguments)
    except LOADING_ERRORS as error:
        raise DataError(
            f"cannot load the weights of {name}: {to_reason(error)}; give a weights file, or train from scratch"
        ) from error
    except (AssertionError, TypeError, ValueError) as error:
        raise DataError(f"cannot build {name} with {arguments}: {error}; choose other arguments") from error
    return backbone


def _check_weights(backbone: nn.Module, name: str) -> None:
    if tensor := not_finite(backbone):
        raise DataError(f"expected finite weights of {name}, got infinite or NaN values in {tensor}; give others")


def _describe(
    backbone: nn.Module,
    name: str,
    arguments: dict[str, str | int | float | bool],
    classes: int,
    configuration: TrainingConfiguration,
    weights_record: WeightsRecord | None,
) -> NetworkRecord:
    resolved = resolve_data_config({}, model=backbone)  # type: ignore[no-untyped-call]
    default_license = _TIMM_LICENSE if configuration.is_pretrained else "no weights"
    height, width = (size, size) if (size := configuration.image_size) else tuple(resolved["input_size"][1:])
    return NetworkRecord(
        model=name,
        model_kwargs=arguments,
        classes=classes,
        mean=tuple(resolved["mean"]),
        std=tuple(resolved["std"]),
        image_spec=ImageSpec(
            height=height,
            width=width,
            # timm's own rule: transforms_factory.transforms_imagenet_eval
            resize_shorter_side=int(max(height, width) / resolved["crop_pct"]),
            interpolation=resolved["interpolation"],
        ),
        weights_license=weights_record.license if weights_record else default_license,
    )
