"""Write the folder that `train` leaves, without a real training: the tiny network takes a few steps or none."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import evaluation_loader
from driftserve_training.dataset.manifest import MANIFEST_FILE, Manifest, write_manifest
from driftserve_training.network.classifier import Classifier, create_classifier
from driftserve_training.network.trained import TrainedRecord, save_trained

_AT_ONCE = 96  # images per step


def save_run(
    folder: Path,
    manifest: Manifest,
    taught: str = "train",
    steps: int = 0,
    model: str = "test_resnet",
    image_size: int = 32,
    **fields: object,
) -> Path:
    """Write a run's folder with record, weights and manifest; return it.

    Args:
        folder: The folder of the run.
        manifest: The manifest of the run's images.
        taught: The split that the network learns from.
        steps: Number of passes over this split; with 0, the images need not exist.
        model: A timm model; its initial weights are always the same.
        image_size: Side of its input, in pixels.
        fields: Values that replace fields of the record.
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
    record = replace(record, **fields)  # type: ignore[arg-type]
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
