"""Resume an interrupted run: find its checkpoint and check that the checkpoint is from the same run."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from driftserve.archive.contract import file_sha256
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.fitting.checkpoints import LAST_CHECKPOINT
from driftserve_training.libraries import library_versions, report_changed_versions
from driftserve_training.network.classifier import NetworkRecord
from driftserve_training.network.weights import LOADING_ERRORS, find_weights, to_reason

Identity = Mapping[str, object]

_IDENTITY_FILE = "run.json"
_LIBRARIES = "libraries"  # key of the versions in that file; they are reported, not compared


def find_checkpoint(folder: Path, identity: Identity) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Raises:
        DataError: the folder holds the checkpoint of another run, and the message names the first difference; or the
            checkpoint is damaged.
    """
    checkpoint = folder / LAST_CHECKPOINT
    if not checkpoint.exists():
        return None
    try:
        theirs = json.loads((folder / _IDENTITY_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: cannot read {_IDENTITY_FILE} of the checkpoint: {error}; remove the folder"
        ) from error
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise DataError(
                f"{folder}: expected the parameters of the run in this folder, {name} {theirs.get(name)}, got {ours}; "
                "give the same, or another output, or remove the folder to start a new run"
            )
    report_changed_versions(folder, theirs.get(_LIBRARIES, {}))
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        raise DataError(
            f"{checkpoint}: cannot load the checkpoint: {to_reason(error)}; remove the folder to start a new run"
        ) from error
    return checkpoint


def begin(folder: Path, identity: Identity) -> None:
    """Empty the folder, and record to which run its checkpoints will belong.

    Raises:
        DataError: the folder has files, but not of a run.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _IDENTITY_FILE).exists():
        raise DataError(
            f"{folder}: expected an empty folder, or the checkpoints of a run, with {_IDENTITY_FILE}, got other files; "
            "move them, or give another output"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _IDENTITY_FILE).write_text(json.dumps({**identity, _LIBRARIES: library_versions()}, indent=1))


def identify(
    configuration: TrainingConfiguration, network: NetworkRecord, manifest_sha256: str, processes: int
) -> Identity:
    """Return the facts, as JSON values, that must be the same to resume a run.

    Files are compared by content. The number of loader processes is left out, as it does not change the result.
    """
    choices = configuration.choices()
    del choices["loader_workers"]
    if Path(configuration.augmentation).is_file():
        choices["augmentation"] = file_sha256(Path(configuration.augmentation))
    weights = find_weights(configuration.weights, network.model) if configuration.weights else None
    facts = {
        "network": asdict(network) | {"image_spec": network.image_spec.model_dump()},
        "weights_sha256": file_sha256(weights) if weights else None,
        "manifest_sha256": manifest_sha256,
        "processes": processes,
    }
    identity: Identity = json.loads(json.dumps(choices | facts))
    return identity
