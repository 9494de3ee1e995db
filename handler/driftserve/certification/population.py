"""Prepares images for measuring a drift detector: corrupts, scores and splits them into reference and traffic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.certification.corruption.imagenet_c import corrupt, standardise
from driftserve.drift.reference import Reference, most_images, to_reference
from driftserve.errors import BadRequest, DataError
from driftserve.images.decode import decode
from driftserve.images.files import find_images
from driftserve.inference.scoring import Scored

Rows = npt.NDArray[np.float64]  # (N, F), the F features of N images
Score = Callable[[Iterable[npt.NDArray[np.uint8]]], Scored]
Cell = tuple[str, int]  # a corruption's name and its severity

_FEWEST = 10  # fewest images of a population; a useful result needs a few hundred
# Largest share of images to corrupt, if not all are corrupted. Each reference, a half of all images, has no such image.
_MOST_CHOSEN = 0.4


@dataclass(frozen=True)
class Draw:
    """A random split into a reference and traffic, with its own random generator.

    `reference_indices` and `traffic` are indices of images.
    """

    reference: Reference
    reference_indices: npt.NDArray[np.int64]
    traffic: npt.NDArray[np.int64]
    generator: np.random.Generator


@dataclass(frozen=True)
class Population:
    """The images for a measurement, as rows of features with the columns `names`.

    `clean` has the rows of all N images, (N, F) for F features. `chosen` has the indices of the C images that were also
    corrupted, (C,). `corrupted` has the rows of these images for each cell, (C, F). `targets` has the index of each
    image's correct label, (N,), or is None if the labels are unknown.
    """

    names: tuple[str, ...]
    clean: Rows
    chosen: npt.NDArray[np.int64]
    corrupted: Mapping[Cell, Rows]
    targets: npt.NDArray[np.int64] | None

    def halves(self, number: int, seed: int) -> list[Draw]:
        """Draw random halves `number` times: one half is the reference, the other the traffic.

        A reference has at most as many images as in an archive, and the traffic has the others. If at most half of the
        images were corrupted, these images are traffic in every draw.
        """
        half = len(self.clean) // 2
        size = min(half, most_images(len(self.names)))
        kept_out = self.chosen if len(self.chosen) <= half else np.array([], np.int64)
        others = np.setdiff1d(np.arange(len(self.clean)), kept_out)
        draws = []
        for draw in range(number):
            generator = np.random.default_rng((seed, draw))
            order = generator.permutation(others)
            reference = to_reference(self.names, self.clean[order[:size]])
            draws.append(Draw(reference, order[:size], np.concatenate([kept_out, order[size:]]), generator))
        return draws


def image_files(folder: Path, pattern: str) -> list[Path]:
    """Return the image files of a folder that match a glob pattern, sorted.

    Raises:
        DataError: There are no such files.
    """
    files = find_images(folder, pattern)
    if not files:
        raise DataError(f"{folder}: expected images as {pattern}, got none")
    return files


def targets_of(files: Sequence[Path], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the index of each file's correct label. Each file is in a folder with the name of its label.

    Raises:
        DataError: A folder's name is not a label.
    """
    if others := {file.parent.name for file in files} - set(labels):
        folder = files[0].parent.parent
        raise DataError(f"{folder}: expected images of {', '.join(labels)}, got {', '.join(sorted(others))}")
    return np.array([labels.index(file.parent.name) for file in files])


def read_standard(file: Path) -> npt.NDArray[np.uint8]:
    """Read an image file as input for the corruptions, (224, 224, 3) uint8.

    Raises:
        DataError: The image cannot be decoded.
    """
    try:
        return standardise(decode(file.read_bytes()))
    except BadRequest as error:
        raise DataError(f"{file}: {error}") from error


def score_population(
    files: Sequence[Path],
    targets: npt.NDArray[np.int64] | None,
    names: Sequence[str],
    score: Score,
    cells: Sequence[Cell],
    most: int | None,
    seed: int,
    progress: Callable[[Sequence[Cell]], Iterable[Cell]] = iter,
) -> Population:
    """Corrupt and score the images of a population.

    All images, also the clean ones, are first resized to the corruptions' size. Otherwise the detector would detect the
    resizing.

    Args:
        files: The images.
        targets: Index of each image's correct label, or None if the labels are unknown.
        names: Names of the features.
        score: Runs the model on images.
        cells: Corruptions with their severities.
        most: Most images to corrupt; at most two fifths of the images are corrupted. None: corrupt all of them.
        seed: Seed for the choice of images and for the corruptions.
        progress: Returns an iterable of the cells that shows the progress.

    Raises:
        DataError: There are too few images, or an image cannot be decoded.
    """
    if len(files) < _FEWEST:
        raise DataError(f"expected at least {_FEWEST} images to measure a drift detector with, got {len(files)}")
    generator = np.random.default_rng(seed)
    number = len(files) if most is None else min(most, int(_MOST_CHOSEN * len(files)))
    chosen = np.sort(generator.permutation(len(files))[:number])
    clean = score(read_standard(file) for file in files).features
    corrupted = {
        cell: score(corrupt(read_standard(files[index]), *cell, seed + int(index)) for index in chosen).features
        for cell in progress(cells)
    }
    return Population(tuple(names), clean, chosen, corrupted, targets)
