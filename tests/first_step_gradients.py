"""A program that saves the gradients of a training run's first step: OUTPUT DATA BATCH_SIZE.

Each process of a distributed run starts it once.
"""

import sys
from pathlib import Path

import driftserve_training  # noqa: F401  must come first: it makes torchvision importable

# isort: split
import lightning
import torch
from lightning.pytorch.callbacks import Callback

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import training_loader
from driftserve_training.dataset.manifest import scan
from driftserve_training.fitting.learner import Learner
from driftserve_training.network.classifier import create_classifier
from driftserve_training.ranks import read_ranks


class _Keep(Callback):
    def __init__(self, path: Path) -> None:
        self._path = path

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, _: object
    ) -> None:
        if trainer.is_global_zero:
            torch.save({name: value.grad for name, value in pl_module.named_parameters()}, self._path)


def main(output: Path, data: Path, batch_size: int) -> None:
    """Run one step of a small vision transformer. It has no batch statistics, which would differ between processes."""
    configuration = TrainingConfiguration(
        data=data,
        output=output.parent,
        model="test_vit",
        pretrained=False,
        image_size=32,
        batch_size=batch_size,
        augmentation="realistic",
        seed=4,
    )
    manifest, ranks = scan(data), read_ranks()
    lightning.seed_everything(configuration.seed, verbose=False)
    classifier, network = create_classifier(configuration, len(manifest.labels))
    loader = training_loader(manifest, network.image_spec, "realistic", batch_size, 0, configuration.seed, ranks)
    lightning.Trainer(
        max_steps=1,
        devices=ranks.processes_per_host,
        strategy="ddp_find_unused_parameters_true" if ranks.processes > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[_Keep(output)],
    ).fit(Learner(classifier, manifest.labels, configuration), loader)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
