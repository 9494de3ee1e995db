"""Save and load a trained network: `network.pt` has the weights, `trained.json` everything else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.network.classifier import Classifier, NetworkRecord, rebuild_classifier
from driftserve_training.network.weights import LOADING_ERRORS, not_finite, to_reason

_WEIGHTS_FILE = "network.pt"
_RECORD_FILE = "trained.json"


@dataclass(frozen=True)
class TrainedRecord:
    """The record of a finished training run: network, calibration, scores and provenance."""

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
    revision: str = "unknown"
    """Revision of the training code."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that decide the result; empty in records of driftserve 0.1."""
    weights_sha256: str | None = None
    """SHA-256 of the file of pretrained weights; None if there is no such file, or an older driftserve trained."""


_ADAPTER = TypeAdapter(TrainedRecord)


def save_trained(directory: Path, record: TrainedRecord, classifier: Classifier) -> None:
    """Write the record and the weights."""
    torch.save(classifier.state_dict(), directory / _WEIGHTS_FILE)
    (directory / _RECORD_FILE).write_bytes(_ADAPTER.dump_json(record, indent=2))


def is_trained(directory: Path) -> bool:
    """Return whether the directory holds a finished training run."""
    return (directory / _RECORD_FILE).is_file()


def load_trained(directory: Path) -> tuple[TrainedRecord, Classifier]:
    """Load the record and the network of a training run, ready to evaluate.

    Raises:
        DataError: the directory holds no finished training run, or its weights cannot be loaded or are not
            finite.
    """
    try:
        record = _ADAPTER.validate_json((directory / _RECORD_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        problem = error if isinstance(error, OSError) else first_problem(error)
        raise DataError(f"{directory}: expected a finished training run: {problem}; run `train` first") from error
    classifier = rebuild_classifier(record.network)
    try:
        classifier.load_state_dict(torch.load(directory / _WEIGHTS_FILE, map_location="cpu", weights_only=True))
    except LOADING_ERRORS as error:
        raise DataError(
            f"{directory / _WEIGHTS_FILE}: cannot load the weights of the run: {to_reason(error)}; train again"
        ) from error
    if tensor := not_finite(classifier):  # driftserve 0.1 saved the network of a training that had diverged
        raise DataError(
            f"{directory / _WEIGHTS_FILE}: expected finite weights, got infinite or NaN values in {tensor}; "
            "train again, with a lower --learning-rate and another --output"
        )
    return record, classifier.eval()
