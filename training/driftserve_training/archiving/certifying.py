"""The drift certificate of an archive, measured on a folder of labelled images."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from driftserve.archive.certificate import Certificate
from driftserve.archive.contract import DriftPolicy
from driftserve.certification.measurement import Effort, certify
from driftserve.certification.population import Cell, image_files, score_population, targets_of
from driftserve.drift.features import feature_names
from driftserve_training.archiving.served import ServedNetwork
from driftserve_training.network.trained import TrainedRecord


def certify_images(folder: Path, served: ServedNetwork, record: TrainedRecord, effort: Effort) -> Certificate:
    """Measure the certificate of a network on random halves of the images of a folder, `<class>/<image>`.

    Raises:
        DataError: the folder has too few images, images of other labels, or one that cannot be decoded.
    """
    files = image_files(folder, "*/*")
    targets = targets_of(files, record.labels)
    names = feature_names(record.labels, served.scored.embedding_size)
    population = score_population(
        files, targets, names, served.score, effort.cells, effort.images, record.seed, _with_progress
    )
    source = f"{len(files)} images of {folder.name}/ at 224x224, in random halves: one the reference, one the traffic"
    return certify(population, DriftPolicy(), effort, source, record.seed)


def _with_progress(cells: Sequence[Cell]) -> Iterable[Cell]:
    progress: Iterable[Cell] = tqdm(cells, desc="certificate", unit="corruption")
    return progress
