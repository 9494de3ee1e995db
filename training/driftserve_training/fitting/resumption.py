"""Where a run that was cut off goes on: the folder of its checkpoints, and whose they are."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from driftserve.archive.contract import file_sha256
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.fitting.checkpoints import LAST_CHECKPOINT
from driftserve_training.network.classifier import NetworkRecord
from driftserve_training.network.weights import find_weights

Identity = Mapping[str, object]

_IDENTITY_FILE = "run.json"


def find_checkpoint(folder: Path, identity: Identity) -> Path | None:
    """The checkpoint to go on from, None where the run begins.

    Raises:
        DataError: the folder holds the checkpoint of another run; the message names the first difference.
    """
    checkpoint = folder / LAST_CHECKPOINT
    if not checkpoint.exists():
        return None
    try:
        theirs = json.loads((folder / _IDENTITY_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: expected {_IDENTITY_FILE} beside the checkpoint, got {error}; remove it") from error
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise DataError(
                f"{folder}: expected what the run there was begun with, {name} {theirs.get(name)}, got {ours}; "
                "give it again, or another output, or remove the folder to begin anew"
            )
    return checkpoint


def begin(folder: Path, identity: Identity) -> None:
    """Empty the folder, and write down whose checkpoints it will hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _IDENTITY_FILE).write_text(json.dumps(identity, indent=1))


def identify(
    configuration: TrainingConfiguration, network: NetworkRecord, manifest_sha256: str, processes: int
) -> Identity:
    """What two runs have in common if one goes on where the other was cut off, as JSON has it.

    Files count by their content. How many processes read the images changes no result.
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
