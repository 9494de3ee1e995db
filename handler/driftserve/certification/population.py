"""Images to measure a drift detector with: scored as they are and corrupted, drawn apart into reference and traffic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.certification.corruption.imagenet_c import corrupt, standardise
from driftserve.drift.reference import Reference, to_reference
from driftserve.errors import BadRequest, DataError
from driftserve.images.decode import MEDIA_TYPES, decode
from driftserve.inference.scoring import Scored

Rows = npt.NDArray[np.float64]  # (N, F), features of N images
Score = Callable[[Iterable[npt.NDArray[np.uint8]]], Scored]
Cell = tuple[str, int]  # a corruption's name and its severity

_FEWEST = 10  # images; a few hundred are needed to see anything
_MOST_CHOSEN = 0.4  # of the images: a reference is half of all, and not the same half in each draw


@dataclass(frozen=True)
class Draw:
    """A reference and the indices of the images that are traffic, with a source of randomness of its own."""

    reference: Reference
    reference_indices: npt.NDArray[np.int64]
    traffic: npt.NDArray[np.int64]
    generator: np.random.Generator


@dataclass(frozen=True)
class Population:
    """The images that are measured with, as rows of features by the columns `names`.

    `clean` are those of all images, (N, F); `chosen`, (C,), the indices of those that were corrupted, and
    `corrupted` their rows, (C, F), by cell; `targets`, (N,), the right labels' indices, where they are known.
    """

    names: tuple[str, ...]
    clean: Rows
    chosen: npt.NDArray[np.int64]
    corrupted: Mapping[Cell, Rows]
    targets: npt.NDArray[np.int64] | None

    def halves(self, number: int, seed: int) -> list[Draw]:
        """Random halves, so many times: one is the reference, the other the traffic.

        Images of which only a part was corrupted are traffic in every draw.
        """
        size = len(self.clean) // 2
        kept_out = self.chosen if len(self.chosen) <= size else np.array([], np.int64)
        others = np.setdiff1d(np.arange(len(self.clean)), kept_out)
        draws = []
        for draw in range(number):
            generator = np.random.default_rng((seed, draw))
            order = generator.permutation(others)
            reference = to_reference(self.names, self.clean[order[:size]])
            draws.append(Draw(reference, order[:size], np.concatenate([kept_out, order[size:]]), generator))
        return draws


def image_files(folder: Path, pattern: str) -> list[Path]:
    """The image files of a folder, by their names' endings, in order.

    Raises:
        DataError: there are none.
    """
    files = sorted(path for path in folder.glob(pattern) if path.suffix.lower() in MEDIA_TYPES)
    if not files:
        raise DataError(f"{folder}: expected images as {pattern}, got none")
    return files


def targets_of(files: Sequence[Path], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The right labels' indices, (N,): each file lies in its label's folder.

    Raises:
        DataError: a folder is no label's.
    """
    if others := {file.parent.name for file in files} - set(labels):
        folder = files[0].parent.parent
        raise DataError(f"{folder}: expected images of {', '.join(labels)}, got {', '.join(sorted(others))}")
    return np.array([labels.index(file.parent.name) for file in files])


def read_standard(file: Path) -> npt.NDArray[np.uint8]:
    """The image in a file, as the corruptions take it, (224, 224, 3) uint8.

    Raises:
        DataError: it cannot be decoded.
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

    All, the clean ones too, are resized to the side of the corruptions first: else the resizing would be
    what is detected.

    Args:
        files: the images.
        targets: the indices of the right labels, (N,), or None.
        names: of the features.
        score: gives what the model says of images.
        cells: the corruptions.
        most: how many of the images to corrupt, at most; two fifths of them are the most anyway. None: all.
        seed: of the choice and of the corruptions.
        progress: wraps the cells, to show how far it is.

    Raises:
        DataError: there are too few images to draw apart, or one cannot be decoded.
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
