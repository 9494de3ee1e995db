"""The images of the benchmark, scored by an archive's model: clean, corrupted, and out of distribution."""

import hashlib
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from driftserve.archive import read_archive, unpack_archive
from driftserve.certification import FULL
from driftserve.contract import MODEL_FILE, Contract
from driftserve.corruption import corrupt, standardise
from driftserve.decode import decode
from driftserve.model import Model
from driftserve.population import Cell, Population, Rows, image_files
from driftserve.scoring import score

SPLITS = ("val", "stream")


@dataclass(frozen=True)
class Images:
    """The population, the indices of its right labels, (N,), and the rows of the strangers, (S, F)."""

    population: Population
    targets: npt.NDArray[np.int64]
    strangers: Rows


@dataclass(frozen=True)
class Task:
    """A name, the images to score under it, and the corruption that they get, if one."""

    name: str
    files: tuple[Path, ...]
    cell: Cell | None = None
    is_mirrored: bool = False


def score_all(archive: Path, data: Path, strangers: Path | None, cache: Path, workers: int) -> Images:
    """The images of `val/` and `stream/` with all their corruptions, and the strangers.

    There are fewer strangers than a fifth of a long window: each is there as it is and mirrored. What was scored
    before is read from `cache`, which is by the archive's content digest and the names of the files.

    Raises:
        DataError: there are no images.
    """
    contract, digest = read_archive(archive)
    files = tuple(path for split in SPLITS for path in image_files(data / split, "*/*"))
    others = tuple(image_files(strangers, "**/*")) if strangers is not None else ()
    tasks = [Task("clean", files)]
    tasks += [Task(f"{name}-{severity}", files, (name, severity)) for name, severity in FULL.cells]
    if others:
        tasks += [Task("strangers", others), Task("strangers-mirrored", others, is_mirrored=True)]
    names = hashlib.sha256("\n".join(map(str, (*files, *others))).encode()).hexdigest()
    folder = cache / f"{digest[:12]}-{names[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(workers) as pool:
        unpacked = Path(scratch, "model")
        unpack_archive(archive, unpacked)
        results = pool.map(partial(_scored, unpacked=unpacked, contract=contract, folder=folder), tasks)
        shown = tqdm(results, total=len(tasks), desc="scoring", unit="corruption")
        rows = {task.name: result for task, result in zip(tasks, shown, strict=True)}
    corrupted = {(name, severity): rows[f"{name}-{severity}"] for name, severity in FULL.cells}
    targets = np.array([contract.labels.index(path.parent.name) for path in files])
    population = Population(contract.feature_names, rows["clean"], np.arange(len(files)), corrupted, targets)
    of_others = [rows[name] for name in ("strangers", "strangers-mirrored") if name in rows]
    return Images(population, targets, np.concatenate([rows["clean"][:0], *of_others]))


def _scored(task: Task, unpacked: Path, contract: Contract, folder: Path) -> Rows:
    kept = folder / f"{task.name}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept))
    spec = contract.image_spec
    model = Model(unpacked / MODEL_FILE, spec.height, spec.width)
    rows = score(_images(task), model, spec, contract.temperature).features
    unfinished = kept.with_suffix(".part.npy")
    np.save(unfinished, rows)
    unfinished.replace(kept)
    return rows


def _images(task: Task) -> Iterable[npt.NDArray[np.uint8]]:
    for seed, path in enumerate(task.files):
        image = standardise(decode(path.read_bytes()))
        if task.is_mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        yield image if task.cell is None else corrupt(image, *task.cell, seed)
