"""The champion: what the network to beat says of the same images, read where it was written or asked of its archive."""

import errno
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from driftserve.archive.reading import find_archive
from driftserve.errors import ArchiveError
from driftserve.inference.model import load_model
from driftserve.inference.prediction import calibrate
from driftserve.inference.verification import verify_archive
from driftserve_training.dataset.images import pixel_batches
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.evaluation.predictions import Predictions, predictions_file, read_predictions
from driftserve_training.network.threads import preserve_thread_count

_PREDICTIONS_SUFFIX = ".csv"
_BLOCK_BYTES = 2**20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # here, whatever the tarball is


@dataclass(frozen=True)
class Champion:
    """What it is called, and what it said."""

    name: str
    predictions: Predictions


def read_champion(place: Path, manifest: Manifest, split: str) -> Champion:
    """The champion at a place, with its predictions of a split.

    Args:
        place: the folder of a training run, or its predictions; or an archive, which is asked now, through the code
            that serves: a `.mar`, or a `model.tar.gz` or a folder that holds one.
        manifest: of the images.
        split: the ones to predict.

    Raises:
        DataError: nothing of these is there.
        ArchiveError: the archive is refused.
        OSError: there is no room to unpack it.
    """
    file = place / predictions_file(split) if place.is_dir() else place
    if file.suffix == _PREDICTIONS_SUFFIX and (file.is_file() or not any(place.glob("*.mar"))):
        return Champion(place.resolve().name, read_predictions(file))
    with tempfile.TemporaryDirectory() as scratch, preserve_thread_count():
        is_packed = place.is_file() and tarfile.is_tarfile(place)
        archive = _unpack(place, Path(scratch)) if is_packed else find_archive(place)
        return _predict(archive, Path(scratch, "model"), manifest, split)


def _predict(archive: Path, scratch: Path, manifest: Manifest, split: str) -> Champion:
    """An archive's own answers; they are calibrated, and of images at its own size."""
    contract = verify_archive(archive, scratch, allowed=()).contract
    spec, entries = contract.image_spec, manifest.split(split)
    model = load_model(scratch, contract)
    batches = tqdm(pixel_batches(manifest, split, spec), desc="champion", unit="batch")
    logits = np.concatenate([model(batch).logits for batch in batches])
    predictions = Predictions(
        contract.labels,
        tuple(entry.path for entry in entries),
        tuple(entry.label for entry in entries),
        calibrate(logits, contract.temperature),
    )
    return Champion(contract.display_name, predictions)


def _unpack(packed: Path, folder: Path) -> Path:
    """The one archive in a `model.tar.gz`, alone in a folder; nothing else of it is unpacked."""
    try:
        with tarfile.open(packed) as tarball:
            members = [member for member in tarball if member.isfile() and member.name.endswith(".mar")]
            if len(members) != 1:
                raise ArchiveError(f"{packed}: expected one .mar file in it, got {len(members)}; give the .mar itself")
            source = tarball.extractfile(members[0])
            with (folder / Path(members[0].name).name).open("xb") as target:
                shutil.copyfileobj(source, target)  # type: ignore[arg-type]  # a file has a content
            while tarball.fileobj and tarball.fileobj.read(_BLOCK_BYTES):
                pass  # gzip's checksum lies behind the end of what tar reads
            return Path(target.name)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        raise ArchiveError(f"{packed}: expected a model.tar.gz, got {error}; download it again") from error
