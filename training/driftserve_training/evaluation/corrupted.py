"""Images under the fifteen corruptions of the drift benchmark at five severities, at a network's input size."""

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from driftserve import __version__
from driftserve.archive.contract import ImageSpec
from driftserve.certification.corruption.imagenet_c import CORRUPTIONS, SEVERITIES, corrupt
from driftserve.certification.population import Cell, read_standard
from driftserve.errors import DataError
from driftserve.images.preprocess import preprocess
from driftserve_training.dataset.manifest import Manifest

CELLS: tuple[Cell, ...] = tuple((name, severity) for name in CORRUPTIONS for severity in SEVERITIES)
VIEWS = 1 + len(CELLS)  # 76

Views = npt.NDArray[np.uint8]  # (76, 3, H, W): the uncorrupted image, then its corruptions in the order of CELLS


class CorruptedImages(Dataset[torch.Tensor]):
    """The views of some images of a split, (76, 3, H, W) uint8 for each image.

    All views, the uncorrupted one too, are first resized to 224x224, the size of the corruptions. Otherwise the scores
    would also measure the resizing. An image's corruptions depend only on the seed and on its position in the split.
    """

    def __init__(self, manifest: Manifest, split: str, places: Sequence[int], spec: ImageSpec, seed: int) -> None:
        entries = manifest.split(split)
        self._files = [manifest.folder / entries[place].path for place in places]
        self._seeds = [seed + place for place in places]
        self._spec = spec
        self.digest = _digest([entries[place].sha256 for place in places], self._seeds, spec)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> torch.Tensor:
        standard = read_standard(self._files[index])
        corrupted = [corrupt(standard, name, severity, self._seeds[index]) for name, severity in CELLS]
        return torch.from_numpy(preprocess([standard, *corrupted], self._spec))


def choose(manifest: Manifest, split: str, number: int | None, seed: int) -> list[int]:
    """Return the positions of `number` random images of a split, about the same number of each label.

    If `number` is None, or larger than the split, return all positions.
    """
    entries = manifest.split(split)
    if number is None or number >= len(entries):
        return list(range(len(entries)))
    by_label: defaultdict[str, list[int]] = defaultdict(list)
    for place in np.random.default_rng(seed).permutation(len(entries)).tolist():
        by_label[entries[place].label].append(place)
    rounds = sorted((turn, label, place) for label, places in by_label.items() for turn, place in enumerate(places))
    return sorted(place for _, _, place in rounds[:number])


def read_views(images: CorruptedImages, workers: int, cache: Path | None) -> Iterator[Views]:
    """Yield the views of each image, in order, and show a progress bar.

    Args:
        images: the images.
        workers: number of processes that corrupt images; 0 means this process.
        cache: folder that keeps the views; a later call for the same images at the same size reads them from there.

    Raises:
        DataError: an image cannot be decoded, or the cache cannot be written.
    """
    if cache is None:
        yield from _compute_views(images, workers)
        return
    file = cache / f"corrupted-{images.digest[:16]}.npy"
    if not file.exists():
        try:
            _write_cache(file, _compute_views(images, workers), len(images))
        except OSError as error:
            raise DataError(f"{cache}: cannot write the cache: {error}; choose another folder, or none") from error
    for views in tqdm(np.load(file, mmap_mode="r"), desc="corruptions, cached", unit="image"):
        yield np.array(views).transpose(0, 3, 1, 2)


def _compute_views(images: CorruptedImages, workers: int) -> Iterator[Views]:
    for views in tqdm(DataLoader(images, batch_size=None, num_workers=workers), desc="corruptions", unit="image"):
        yield views.numpy()


def _write_cache(file: Path, views_of_images: Iterator[Views], number: int) -> None:
    """Write the views of N images as one array, (N, 76, H, W, 3); the file appears only when it is complete.

    Another process may write the same file at the same time. The rows are written one by one, so that a full disk
    raises an error. With mapped memory, a full disk would kill the process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.stem}-{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as stream:
            for index, views in enumerate(views_of_images):
                pixels = np.ascontiguousarray(views.transpose(0, 2, 3, 1))
                if index == 0:
                    _write_header(stream, (number, *pixels.shape))
                stream.write(pixels.tobytes())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write the part of a .npy file that comes before the pixels."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]


def _digest(images: Sequence[str], seeds: Sequence[int], spec: ImageSpec) -> str:
    """Return a digest of all that the views depend on."""
    depends_on = [__version__, CELLS, list(images), list(seeds), spec.model_dump()]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
