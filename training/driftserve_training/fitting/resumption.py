"""Where a run that was cut off goes on: the folder of its checkpoints, and whose they are."""

import json
import shutil
from pathlib import Path

from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration

LAST_CHECKPOINT = "last"
_IDENTITY_FILE = "run.json"


def find_checkpoint(folder: Path, configuration: TrainingConfiguration, manifest_sha256: str) -> Path | None:
    """The checkpoint to go on from, None where the run begins.

    Raises:
        DataError: the folder holds the checkpoint of a run with other parameters or other images.
    """
    checkpoint = folder / f"{LAST_CHECKPOINT}.ckpt"
    if not checkpoint.exists():
        return None
    ours = identity_of(configuration, manifest_sha256)
    try:
        theirs = json.loads((folder / _IDENTITY_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: expected {_IDENTITY_FILE} beside the checkpoint, got {error}; remove it") from error
    if different := [name for name in ours if theirs.get(name) != ours[name]]:
        name = different[0]
        raise DataError(
            f"{folder}: expected the parameters of the run that was cut off there, {name} {theirs.get(name)}, "
            f"got {ours[name]}; give these, or another output, or remove the folder to begin anew"
        )
    return checkpoint


def begin(folder: Path, configuration: TrainingConfiguration, manifest_sha256: str) -> None:
    """Empty the folder, and write down whose checkpoints it will hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _IDENTITY_FILE).write_text(json.dumps(identity_of(configuration, manifest_sha256), indent=1))


def identity_of(configuration: TrainingConfiguration, manifest_sha256: str) -> dict[str, object]:
    """What two runs have to have in common for one to go on where the other was cut off."""
    choices = configuration.choices() | {"manifest_sha256": manifest_sha256}
    del choices["loader_workers"]  # how many processes read the images changes no result
    return choices
