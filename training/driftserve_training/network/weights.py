"""Find weights files and read their records, `<file>.json`."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated

import torch
from huggingface_hub import try_to_load_from_cache
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import nn

from driftserve.archive.contract import Interpolation
from driftserve.errors import DataError
from driftserve.images.files import check_names
from driftserve.validation import first_problem

Channels = tuple[float, float, float]

# What torch.load and safetensors raise for a damaged file or for weights of another network.
LOADING_ERRORS = (OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError, LookupError)
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in timm's order: timm.models._hub.load_state_dict_from_hf


class WeightsRecord(BaseModel):
    """The timm model that a weights file belongs to, and the normalisation of its input images."""

    model_config = ConfigDict(frozen=True)

    model: str
    model_kwargs: dict[str, str | int | float | bool] = {}
    mean: Channels
    std: Channels
    input_size: tuple[Annotated[int, Field(ge=3, le=3)], int, int]
    interpolation: Interpolation = "bicubic"
    license: str = "not stated"


def find_weights(path: Path, model: str | None) -> Path:
    """Return the weights file at a path: the path itself, or the file in a folder whose record names the model.

    Raises:
        DataError: no file of the folder, or more than one, matches.
    """
    if not path.is_dir():
        return path
    records = {file: read_weights_record(file) for file in weights_files(path)}
    models = {file: record.model for file, record in records.items() if record is not None}
    fitting = [file for file, name in models.items() if name == model] if model else list(models)
    if len(fitting) != 1:
        of_model = f" of {model}" if model else ""
        names = ", ".join(f"{file.name} of {name}" for file, name in models.items()) or "none with a record"
        raise DataError(f"{path}: expected one weights file{of_model}, got {names}; give a model, or one file")
    return fitting[0]


def weights_files(folder: Path) -> list[Path]:
    """Return the files of a folder, sorted, without records (`.json`) and names that begin with a dot.

    Raises:
        DataError: a name is not UTF-8.
    """
    shown = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    check_names(folder, [path.relative_to(folder) for path in shown])
    return [path for path in shown if path.suffix != ".json"]


def downloaded_weights(hub_id: str | None, cache: Path | None = None) -> Path | None:
    """Return the file that timm has downloaded from a repository of the Hugging Face hub, or None if there is none.

    Args:
        hub_id: the repository, such as `timm/resnet18.a1_in1k`.
        cache: the hub's cache; by default as huggingface_hub finds it.
    """
    if hub_id is None:
        return None
    for name in _HUB_FILES:
        if isinstance(path := try_to_load_from_cache(hub_id, name, cache_dir=cache), str):
            return Path(path)
    return None


def read_weights_record(weights: Path) -> WeightsRecord | None:
    """Return the record of a weights file, or None if there is no record.

    Raises:
        DataError: the weights file does not exist, or its record breaks the schema.
    """
    if not weights.is_file():
        raise DataError(f"{weights}: expected a weights file, got none; correct the path")
    record = weights.with_name(weights.name + ".json")
    if not record.exists():
        return None
    try:
        return WeightsRecord.model_validate_json(record.read_bytes())
    except ValidationError as error:
        raise DataError(f"{record}: {first_problem(error)}") from error


def not_finite(network: nn.Module) -> str | None:
    """Return the name of the first tensor of a network that has an infinite or NaN value, or None."""
    tensors: dict[str, torch.Tensor] = network.state_dict()
    return next((name for name, values in tensors.items() if not values.isfinite().all()), None)


def to_reason(error: Exception) -> str:
    """Return the text of one of `LOADING_ERRORS` in one line of at most 300 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
