"""The drift certificate of an archive, measured on a folder of labelled images."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from driftserve.certificate import Certificate
from driftserve.certification import Effort, certify
from driftserve.contract import DriftPolicy
from driftserve.features import feature_names
from driftserve.population import Cell, Score, image_files, score_population, targets_of


def certify_images(
    folder: Path, labels: Sequence[str], score: Score, effort: Effort, seed: int, embedding_size: int
) -> Certificate:
    """The certificate of a model by the images of a folder, `<class>/<image>`, in random halves.

    Raises:
        DataError: the folder has too few images, images of other labels, or one that cannot be decoded.
    """
    files = image_files(folder, "*/*")
    targets = targets_of(files, labels)
    names = feature_names(labels, embedding_size)
    population = score_population(files, targets, names, score, effort.cells, effort.images, seed, _shown)
    source = f"{len(files)} images of {folder.name}/ at 224x224, in random halves: one the reference, one the traffic"
    return certify(population, DriftPolicy(), effort, source, seed)


def _shown(cells: Sequence[Cell]) -> Iterable[Cell]:
    shown: Iterable[Cell] = tqdm(cells, desc="certificate", unit="corruption")
    return shown
