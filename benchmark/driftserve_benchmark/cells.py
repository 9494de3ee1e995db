"""The images of the benchmark, scored by an archive's model: clean, corrupted, and out of distribution (OOD)."""

import hashlib
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

import driftserve
from driftserve.archive.contract import Contract
from driftserve.archive.reading import read_archive, unpack_archive
from driftserve.certification.corruption.imagenet_c import corrupt
from driftserve.certification.measurement import FULL
from driftserve.certification.population import Cell, Population, Rows, image_files, read_standard, targets_of
from driftserve.inference.model import load_model
from driftserve.inference.scoring import score

SPLITS = ("val", "stream")
_LOOK_SIDE = 8
_SCORING_CODE = (  # files of driftserve that decide the scores
    "certification/corruption/*.py",
    "drift/features.py",
    "images/*.py",
    "inference/model.py",
    "inference/scoring.py",
)


@dataclass(frozen=True)
class Images:
    """The scored images.

    `population` has the N labelled images. `ood_rows` are the F features of each of the S scored OOD images, (S, F).
    `looks` has the pixels of each labelled image's thumbnail of 8 by 8, (N, 192).
    """

    population: Population
    ood_rows: Rows
    looks: npt.NDArray[np.float64]

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Indices of the true labels of the N labelled images, (N,)."""
        return np.asarray(self.population.targets)


@dataclass(frozen=True)
class Task:
    """A set of images to score: its name, the files, and the corruption to apply to the images, if any."""

    name: str
    files: tuple[Path, ...]
    cell: Cell | None = None
    is_mirrored: bool = False


def score_all(archive: Path, data: Path, ood: Path | None, cache: Path, workers: int) -> Images:
    """Score the images of `val/` and `stream/` with all corruptions, and the OOD images; return all scores.

    A fifth of a long window needs more OOD images than there are, so each is scored twice: as it is, and mirrored.
    Earlier scores are read from `cache`. The key is a digest of the archive, of the images, and of the scoring code.

    Raises:
        DataError: there are no images, an image has another label, or an image cannot be decoded.
    """
    contract, digest = read_archive(archive)
    files = tuple(path for split in SPLITS for path in image_files(data / split, "*/*"))
    ood_files = tuple(image_files(ood, "**/*")) if ood is not None else ()
    targets = targets_of(files, contract.labels)
    tasks = [Task("clean", files)]
    tasks += [Task(f"{name}-{severity}", files, (name, severity)) for name, severity in FULL.cells]
    if ood_files:
        tasks += [Task("ood", ood_files), Task("ood-mirrored", ood_files, is_mirrored=True)]
    folder = cache / f"{digest[:12]}-{_digest((*files, *ood_files))[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(workers) as pool:
        unpacked = Path(scratch, "model")
        unpack_archive(archive, unpacked)
        results = pool.map(partial(_score_task, unpacked=unpacked, contract=contract, folder=folder), tasks)
        progress = tqdm(results, total=len(tasks), desc="scoring", unit="corruption")
        rows = {task.name: result for task, result in zip(tasks, progress, strict=True)}
    corrupted = {(name, severity): rows[f"{name}-{severity}"] for name, severity in FULL.cells}
    population = Population(contract.feature_names, rows["clean"], np.arange(len(files)), corrupted, targets)
    ood_rows = [rows[name] for name in ("ood", "ood-mirrored") if name in rows]
    return Images(population, np.concatenate([rows["clean"][:0], *ood_rows]), np.array(list(map(_look, files))))


def _look(path: Path) -> npt.NDArray[np.float64]:
    thumbnail = Image.fromarray(read_standard(path)).resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BOX)
    return np.asarray(thumbnail, np.float64).ravel()


def _digest(files: Iterable[Path]) -> str:
    """Return the digest of the images and of the code that decodes, corrupts and scores them."""
    package = Path(driftserve.__file__).parent
    code = sorted(path for pattern in _SCORING_CODE for path in package.glob(pattern))
    digest = hashlib.sha256()
    for path in (*code, *files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _score_task(task: Task, unpacked: Path, contract: Contract, folder: Path) -> Rows:
    cached = folder / f"{task.name}.npy"
    if cached.is_file():
        return np.asarray(np.load(cached))
    model = load_model(unpacked, contract)
    rows = score(_images(task), model, contract.image_spec, contract.temperature).features
    unfinished = cached.with_suffix(".part.npy")
    np.save(unfinished, rows)
    unfinished.replace(cached)
    return rows


def _images(task: Task) -> Iterable[npt.NDArray[np.uint8]]:
    for seed, path in enumerate(task.files):
        image = read_standard(path)
        if task.is_mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        yield image if task.cell is None else corrupt(image, *task.cell, seed)
