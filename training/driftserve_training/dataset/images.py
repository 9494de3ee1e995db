"""Data loaders for the images of a manifest, decoded and preprocessed by the same code as in serving."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from driftserve.archive.contract import ImageSpec
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve_training.dataset.augmentation import Augment, Image, build_augmentation
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.dataset.order import Draw, EpochOrder, seed_of
from driftserve_training.ranks import Ranks

Sample = tuple[torch.Tensor, int]  # pixels, (3, H, W) uint8, and class index

_LOWEST_PRIORITY = 19  # increment for nice(2), which ends at the lowest priority


class ImageDataset(Dataset[Sample]):
    """Data set of pairs: pixels, (3, H, W) uint8, and class index."""

    def __init__(self, manifest: Manifest, split: str, spec: ImageSpec) -> None:
        entries, labels = manifest.split(split), manifest.labels
        self._files = [manifest.folder / entry.path for entry in entries]
        self._targets = [labels.index(entry.label) for entry in entries]
        self._spec = spec

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        return self.sample(index, None)

    def sample(self, index: int, change: Callable[[Image], Image] | None) -> Sample:
        """Return the preprocessed image at an index and its class; apply `change` before preprocessing if given."""
        image = decode(self._files[index].read_bytes())
        if change is not None:
            image = change(image)
        return torch.from_numpy(preprocess([image], self._spec)[0]), self._targets[index]


class AugmentedDataset(Dataset[Sample]):
    """Data set of augmented images; the augmentation of an image depends on its `Draw`."""

    def __init__(self, images: ImageDataset, augment: Augment | None, seed: int) -> None:
        self._images = images
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, draw: Draw) -> Sample:
        augment = self._augment
        if augment is None:
            return self._images[draw.index]
        return self._images.sample(draw.index, lambda image: augment(image, seed_of(self._seed, draw)))


def training_loader(
    manifest: Manifest,
    spec: ImageSpec,
    augmentation: str,
    batch_size: int,
    workers: int,
    seed: int,
    ranks: Ranks | None = None,
) -> DataLoader[Sample]:
    """Return a loader of the training images, augmented and shuffled. It drops a last batch that is not full.

    Raises:
        DataError: the augmentation is unknown.
    """
    images = ImageDataset(manifest, "train", spec)
    order = EpochOrder(images, ranks or Ranks(), seed)
    return DataLoader(
        AugmentedDataset(images, build_augmentation(augmentation), seed),
        batch_size=batch_size,
        sampler=order,
        drop_last=len(order) > batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
        worker_init_fn=_lower_priority,
    )


def _lower_priority(_worker: int) -> None:
    """Lower the priority of a loader process: if one training thread loses its core, all the others wait for it."""
    os.nice(_LOWEST_PRIORITY)


def evaluation_loader(
    manifest: Manifest, split: str, spec: ImageSpec, batch_size: int, workers: int
) -> DataLoader[Sample]:
    """Return a loader of the images of a split, without augmentation, in the manifest's order."""
    return DataLoader(ImageDataset(manifest, split, spec), batch_size=batch_size, num_workers=workers)


def decoded_images(manifest: Manifest, split: str) -> Iterator[Image]:
    """Yield the images of a split as the service decodes them, (H, W, 3) uint8, in the manifest's order."""
    for entry in manifest.split(split):
        yield decode((manifest.folder / entry.path).read_bytes())


def pixel_batches(
    manifest: Manifest, split: str, spec: ImageSpec, batch_size: int = 32
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the preprocessed images of a split in batches, (N, 3, H, W) uint8, in the manifest's order."""
    for pixels, _ in evaluation_loader(manifest, split, spec, batch_size, workers=0):
        yield pixels.numpy()
