"""Images of a manifest as the network takes them, through the decode and preprocess that serve."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from driftserve.contract import ImageSpec
from driftserve.decode import decode
from driftserve.preprocess import preprocess
from driftserve_training.dataset.augmentation import Image, build_augmentation
from driftserve_training.dataset.manifest import Entry, Manifest
from driftserve_training.ranks import Ranks

Sample = tuple[torch.Tensor, int]


class ImageDataset(Dataset[Sample]):
    """Pairs of pixels, (3, H, W) uint8, and class index."""

    def __init__(
        self,
        folder: Path,
        entries: Sequence[Entry],
        labels: Sequence[str],
        spec: ImageSpec,
        augment: Callable[[Image], Image] | None = None,
    ) -> None:
        self._files = [folder / entry.path for entry in entries]
        self._targets = [labels.index(entry.label) for entry in entries]
        self._spec = spec
        self._augment = augment

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        image = decode(self._files[index].read_bytes())
        if self._augment is not None:
            image = self._augment(image)
        return torch.from_numpy(preprocess([image], self._spec)[0]), self._targets[index]


def training_loader(
    manifest: Manifest, spec: ImageSpec, batch_size: int, workers: int, seed: int, ranks: Ranks | None = None
) -> DataLoader[Sample]:
    """The training images, augmented and shuffled; a last batch that is not full is left out.

    Of several processes each gets its share, equal ones: a few images come twice where they do not divide.
    """
    ranks = ranks or Ranks()
    augment = build_augmentation(seed + ranks.rank)
    dataset = ImageDataset(manifest.folder, manifest.split("train"), manifest.labels, spec, augment)
    share: DistributedSampler[Sample] | None = None
    if ranks.processes > 1:
        share = DistributedSampler(dataset, ranks.processes, ranks.rank, seed=seed)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=share is None,
        sampler=share,
        drop_last=(len(share) if share else len(dataset)) > batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )


def evaluation_loader(
    manifest: Manifest, split: str, spec: ImageSpec, batch_size: int, workers: int
) -> DataLoader[Sample]:
    """The images of a split as they are, in the manifest's order."""
    dataset = ImageDataset(manifest.folder, manifest.split(split), manifest.labels, spec)
    return DataLoader(dataset, batch_size=batch_size, num_workers=workers)


def decoded_images(manifest: Manifest, split: str) -> Iterator[Image]:
    """The images of a split as the service decodes them, (H, W, 3) uint8, in the manifest's order."""
    for entry in manifest.split(split):
        yield decode((manifest.folder / entry.path).read_bytes())


def pixel_batches(
    manifest: Manifest, split: str, spec: ImageSpec, batch_size: int = 32
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images of a split as batches (N, 3, H, W) uint8, in the manifest's order, read as they are asked for."""
    for pixels, _ in evaluation_loader(manifest, split, spec, batch_size, workers=0):
        yield pixels.numpy()
