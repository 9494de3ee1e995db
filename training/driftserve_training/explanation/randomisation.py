"""The cascading randomisation test (Adebayo et al. 2018): whether attributions depend on what the network learned."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from driftserve_training.explanation.attribution import HeatMap, attribute
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Method, RandomisedStage

_MOST_STAGES = 6  # more would take long, because each stage computes the attributions of all images


def randomise(
    network: DifferentiableNetwork, inputs: torch.Tensor, targets: Sequence[int], method: Method, steps: int, seed: int
) -> tuple[RandomisedStage, ...]:
    """Compare the attributions of a network with those of copies in which more and more layers are randomised.

    Layers are randomised from the head down to the first layer, in at most six stages. The values of a parameter are
    drawn from a normal distribution with their mean and standard deviation. If the attributions stay similar, the
    method shows the image, not what the network has learned.

    Args:
        network: the network; it is not changed.
        inputs: N normalised images, (N, 3, H, W) float32.
        targets: class index of each input.
        method: method of attribution.
        steps: number of steps of Integrated Gradients.
        seed: seed of the random parameters.
    """
    randomised = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)

    def heat_maps(explained: DifferentiableNetwork) -> list[HeatMap]:
        pairs = zip(torch.split(inputs, 1), targets, strict=True)
        return [attribute(explained, image, target, method, steps, doublings=0).heat_map for image, target in pairs]

    originals, stages = heat_maps(network), []
    for layer, parameters in _cascade(randomised.classifier.backbone):
        for parameter in parameters:
            mean, spread = float(parameter.mean()), float(parameter.std(correction=0))
            parameter.copy_(mean + spread * torch.randn(parameter.shape, generator=generator))
        pairs = zip(originals, heat_maps(randomised), strict=True)
        stages.append(RandomisedStage(layer, float(np.mean([rank_correlation(*pair) for pair in pairs]))))
    return tuple(stages)


def rank_correlation(first: HeatMap, second: HeatMap) -> float:
    """Return Spearman's rank correlation of two heat maps, pixel by pixel; 0 if one of them is constant.

    >>> rank_correlation(np.array([[1, 2], [3, 4]], np.float32), np.array([[1, 4], [9, 16]], np.float32))
    1.0
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def _cascade(backbone: nn.Module) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Yield the parameters of each stage, the head's alone first; the name is that of the stage's lowest layer."""
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        first, *rest = name.split(".")
        is_row = isinstance(getattr(backbone, first), nn.Sequential | nn.ModuleList)
        layers.setdefault(f"{first}.{rest[0]}" if is_row else first, []).append(parameter)
    head, *others = reversed(layers)
    yield head, layers[head]
    for part in np.array_split(np.array(others, dtype=object), min(_MOST_STAGES - 1, len(others)) or 1):
        if len(part):
            yield str(part[-1]), [parameter for layer in part for parameter in layers[layer]]
