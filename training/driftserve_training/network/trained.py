"""A trained network on disk: `network.pt` with its weights, `trained.json` with all else."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve_training.network.classifier import Classifier, NetworkRecord, rebuild_classifier

_WEIGHTS_FILE = "network.pt"
_RECORD_FILE = "trained.json"


@dataclass(frozen=True)
class TrainedRecord:
    """What a training run found: the network, its calibration, its scores, where it came from."""

    network: NetworkRecord
    labels: tuple[str, ...]
    temperature: float
    epochs: int
    best_epoch: int
    seconds: float
    seed: int
    val_accuracy: float
    val_macro_f1: float
    manifest_sha256: str


_ADAPTER = TypeAdapter(TrainedRecord)


def save_trained(directory: Path, record: TrainedRecord, classifier: Classifier) -> None:
    """Write the record and the weights."""
    torch.save(classifier.state_dict(), directory / _WEIGHTS_FILE)
    (directory / _RECORD_FILE).write_bytes(_ADAPTER.dump_json(record, indent=2))


def load_trained(directory: Path) -> tuple[TrainedRecord, Classifier]:
    """The record and the network of a training run, ready to evaluate.

    Raises:
        DataError: the directory holds no training run.
    """
    try:
        record = _ADAPTER.validate_json((directory / _RECORD_FILE).read_bytes())
        weights = torch.load(directory / _WEIGHTS_FILE, map_location="cpu", weights_only=True)
    except (OSError, ValidationError) as error:
        raise DataError(f"{directory}: expected a finished training run, got {error}; run `train` first") from error
    classifier = rebuild_classifier(record.network)
    classifier.load_state_dict(weights)
    return record, classifier.eval()
