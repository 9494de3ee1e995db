"""Whether attributions depend on what was learned: the cascading randomisation test (Adebayo et al. 2018)."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from driftserve_training.explanation.attribution import HeatMap, attribute
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Method, RandomisedStage

_MOST_STAGES = 6  # each costs as many attributions as there are images


def randomise(
    network: DifferentiableNetwork, inputs: torch.Tensor, targets: Sequence[int], method: Method, steps: int, seed: int
) -> tuple[RandomisedStage, ...]:
    """How the attributions of a network are ranked as those of its copies of which ever more is forgotten.

    From the head down to the first layer, in at most six stages, every parameter is drawn anew from the normal
    distribution with the mean and the spread of its values. A method whose attributions stay alike draws the image,
    not what the network sees in it.

    Args:
        network: it is not changed.
        inputs: (N, 3, H, W) float32.
        targets: the class of each.
        method: of attribution.
        steps: of Integrated Gradients.
        seed: of the parameters.
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
    """Spearman's rank correlation of two heat maps, pixel by pixel; 0 where one is the same everywhere.

    >>> rank_correlation(np.array([[1, 2], [3, 4]], np.float32), np.array([[1, 4], [9, 16]], np.float32))
    1.0
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def _cascade(backbone: nn.Module) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """The parameters by stages, the head's alone first; each named by the lowest layer that is forgotten with it."""
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
