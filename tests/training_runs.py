"""Training runs without training: what `train` leaves, of a tiny network that a few steps have taught, or none."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import evaluation_loader
from driftserve_training.dataset.manifest import MANIFEST_FILE, Manifest, write_manifest
from driftserve_training.network.classifier import Classifier, create_classifier
from driftserve_training.network.trained import TrainedRecord, save_trained

_AT_ONCE = 96  # images of a step


def save_run(
    folder: Path,
    manifest: Manifest,
    taught: str = "train",
    steps: int = 0,
    model: str = "test_resnet",
    image_size: int = 32,
    **told: object,
) -> Path:
    """A run's folder with record, weights and manifest.

    Args:
        folder: where it is put.
        manifest: of the images that it was given.
        taught: the split that the network learns from.
        steps: over this split; with none its images need not be there.
        model: a timm model, at random weights that are always the same.
        image_size: the side of its input.
        told: what the record says, where that matters.
    """
    torch.manual_seed(1)
    configuration = TrainingConfiguration(output=folder, model=model, pretrained=False, image_size=image_size)
    classifier, network = create_classifier(configuration, len(manifest.labels))
    record = TrainedRecord(
        network=network,
        labels=manifest.labels,
        temperature=1.5,
        epochs=1,
        best_epoch=1,
        seconds=1.0,
        seed=1,
        val_accuracy=0.5,
        val_macro_f1=0.5,
        manifest_sha256=manifest.sha256,
    )
    record = replace(record, **told)  # type: ignore[arg-type]
    if steps:
        _teach(classifier, list(evaluation_loader(manifest, taught, network.image_spec, _AT_ONCE, 0)), steps)
    save_trained(folder, record, classifier)
    write_manifest(manifest, folder / MANIFEST_FILE)
    return folder


def _teach(classifier: Classifier, batches: list[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    classifier.train()
    for _ in range(steps):
        for pixels, targets in batches:
            optimiser.zero_grad()
            cross_entropy(classifier(pixels), targets).backward()
            optimiser.step()
