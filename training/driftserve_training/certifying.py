"""The drift certificate of an archive, measured on a folder of labelled images."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from driftserve.certificate import Certificate
from driftserve.certification import Cell, Effort, Score, certify, score_population
from driftserve.contract import DriftPolicy
from driftserve.decode import MEDIA_TYPES, decode
from driftserve.errors import DataError
from driftserve.features import feature_names


def certify_images(
    folder: Path, labels: Sequence[str], score: Score, effort: Effort, seed: int, embedding_size: int
) -> Certificate:
    """The certificate of a model by the images of a folder, `<class>/<image>`, in random halves.

    Raises:
        DataError: the folder has no images of these labels.
    """
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in MEDIA_TYPES)
    if not files or (others := {path.parent.name for path in files} - set(labels)):
        got = ", ".join(sorted(others)) if files else "no images"
        raise DataError(f"{folder}: expected images as <class>/<image> of {', '.join(labels)}, got {got}")
    targets = np.array([labels.index(path.parent.name) for path in files])
    names = feature_names(labels, embedding_size)
    images = [partial(_read, path) for path in files]
    population = score_population(images, targets, names, score, effort, seed, _shown)
    source = f"{len(files)} images of {folder.name}/ at 224x224, in random halves: one the reference, one the traffic"
    return certify(population, DriftPolicy(), effort, source, seed)


def _read(path: Path) -> npt.NDArray[np.uint8]:
    return decode(path.read_bytes())


def _shown(cells: Sequence[Cell]) -> Iterable[Cell]:
    shown: Iterable[Cell] = tqdm(cells, desc="certificate", unit="corruption")
    return shown
