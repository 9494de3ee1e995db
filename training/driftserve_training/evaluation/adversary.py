"""Adversarial attacks: how small a change misleads a network. This is a probe, not a defence."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from driftserve_training.evaluation.document import Attack
from driftserve_training.evaluation.intervals import mean_interval
from driftserve_training.network.classifier import Classifier

EPSILONS = (1, 2, 4, 8)  # grey levels by which an attack may change a pixel
STEPS = 10  # steps of `pgd`
_STEP_SHARE = 0.25  # size of a step as a share of epsilon: ten steps reach the edge from any point inside


def measure_attacks(
    classifier: Classifier, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], seed: int
) -> tuple[Attack, ...]:
    """Return the accuracy on images that were changed by at most each epsilon to mislead the network.

    `fgsm` takes one step along the sign of the gradient (Goodfellow et al. 2015). `pgd` takes ten steps from a random
    start, and returns to within epsilon after each step (Madry et al. 2018). The changed images have whole grey levels,
    as image files do.

    Args:
        classifier: in evaluation mode.
        batches: for N images each: pixels, (N, 3, H, W) uint8, and class indices, (N,).
        seed: seed of the random starts and of the intervals.
    """
    generator = torch.Generator().manual_seed(seed)
    is_right: dict[tuple[str, int], list[npt.NDArray[np.bool_]]] = {}
    for pixels, targets in tqdm(batches, desc="attacks", unit="batch"):
        for epsilon in EPSILONS:
            changed = {
                "fgsm": fgsm(classifier, pixels, targets, epsilon),
                "pgd": pgd(classifier, pixels, targets, epsilon, generator),
            }
            for name, images in changed.items():
                is_right.setdefault((name, epsilon), []).append(_is_right(classifier, images, targets))
    return tuple(_to_attack(name, epsilon, parts, seed) for (name, epsilon), parts in sorted(is_right.items()))


def fgsm(classifier: Classifier, pixels: torch.Tensor, targets: torch.Tensor, epsilon: int) -> torch.Tensor:
    """Return the images, (N, 3, H, W) uint8, after one step of `epsilon` grey levels."""
    start = pixels.float()
    return _to_pixels(start + epsilon * _gradient_sign(classifier, start, targets))


def pgd(
    classifier: Classifier, pixels: torch.Tensor, targets: torch.Tensor, epsilon: int, generator: torch.Generator
) -> torch.Tensor:
    """Return the images, (N, 3, H, W) uint8, after ten steps that stay within `epsilon` grey levels of the input."""
    origin = pixels.float()
    lowest, highest = (origin - epsilon).clamp(0, 255), (origin + epsilon).clamp(0, 255)
    position = origin + epsilon * (2 * torch.rand(origin.shape, generator=generator) - 1)
    for _ in range(STEPS):
        position = position.clamp(lowest, highest)
        position = position + epsilon * _STEP_SHARE * _gradient_sign(classifier, position, targets)
    return _to_pixels(position.clamp(lowest, highest))


def _gradient_sign(classifier: Classifier, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the direction in which the loss rises: -1, 0 or 1 for each value."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(classifier(images), targets, reduction="sum"), images)
    return gradient.sign()


def _to_pixels(images: torch.Tensor) -> torch.Tensor:
    return images.clamp(0, 255).round().to(torch.uint8)


def _is_right(classifier: Classifier, pixels: torch.Tensor, targets: torch.Tensor) -> npt.NDArray[np.bool_]:
    with torch.inference_mode():
        return np.asarray((classifier(pixels).argmax(dim=1) == targets).numpy())


def _to_attack(name: str, epsilon: int, parts: Sequence[npt.NDArray[np.bool_]], seed: int) -> Attack:
    is_right = np.concatenate(parts)
    return Attack(name, epsilon, len(is_right), mean_interval(is_right.astype(np.float64), seed))
