"""Benchmark: how much reading and augmenting images slows down training."""

import statistics
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import training_loader
from driftserve_training.dataset.manifest import scan
from driftserve_training.network.classifier import create_classifier

ROUNDS = 5
STEPS = 25  # of 32 images each, many more than are prefetched
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.mark.bench
def test_realistic_images_keep_85_percent_of_the_speed_of_random_ones(intel: Path, tmp_path: Path) -> None:
    """Run training steps of mobilenetv2_100 at 128 pixels, alternating between both kinds of batches."""
    configuration = TrainingConfiguration(
        data=intel, output=tmp_path, model="mobilenetv2_100", pretrained=False, image_size=128, loader_workers=2
    )
    manifest = scan(intel, ("train",))
    classifier, network = create_classifier(configuration, len(manifest.labels))
    optimizer = torch.optim.AdamW(classifier.parameters())
    loader = training_loader(manifest, network.image_spec, "realistic", 32, configuration.loader_workers, seed=0)
    real: Iterator[Batch] = chain.from_iterable(repeat(loader))  # type: ignore[arg-type]
    pixels = torch.randint(0, 256, (32, 3, 128, 128), dtype=torch.uint8)
    synthetic = repeat((pixels, torch.arange(32) % len(manifest.labels)))

    def seconds(batches: Iterator[Batch]) -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            images, targets = next(batches)
            optimizer.zero_grad()
            cross_entropy(classifier(images.contiguous(memory_format=torch.channels_last)), targets).backward()
            optimizer.step()
        return time.perf_counter() - started

    seconds(real)
    seconds(synthetic)
    pairs = [(seconds(synthetic), seconds(real)) for _ in range(ROUNDS)]
    share = statistics.median(random / read for random, read in pairs)
    speed = statistics.median(32 * STEPS / read for _, read in pairs)
    print(f"realistic input: {share:.3f} of the speed with random input, {speed:.0f} images a second")
    assert share >= 0.85
