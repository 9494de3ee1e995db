"""The deletion test (Petsiuk et al. 2018, RISE): whether an attribution names the pixels that the network uses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from driftserve_training.evaluation.intervals import mean_interval
from driftserve_training.explanation.attribution import HeatMap, baseline_of
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Faithfulness

# Cells along each side. Single removed pixels would make a pattern that no image has, and the test would measure that.
CELLS_ACROSS = 8
_STEPS = 16  # steps in which the cells of an image are removed
_ORDERS = 8  # number of random orders, and of moved maps

Order = npt.NDArray[np.int64]  # (64,): numbers of the cells, counted row by row, in the order of removal


@dataclass(frozen=True)
class Deletion:
    """The areas under the deletion curves of one image: for its heat map, for random orders, for the moved map."""

    auc: float
    random_auc: float
    moved_auc: float


def delete(
    network: DifferentiableNetwork, image: torch.Tensor, heat_map: HeatMap, target: int, temperature: float, seed: int
) -> Deletion:
    """Run the deletion test of the heat map of an image, (1, 3, H, W) float32, for the target class; return the areas.

    Random orders remove scattered cells, and that alone makes an image unlike any other. The probability then falls
    sooner than if patches are removed. So there is a second comparison, with the map's own patches in other places.
    """

    def mean_area(orders: Sequence[Order]) -> float:
        return float(np.mean([deletion_auc(network, image, target, temperature, order) for order in orders]))

    generator = np.random.default_rng(seed)
    random = [generator.permutation(CELLS_ACROSS**2) for _ in range(_ORDERS)]
    moved = [_ranked(_moved(_cells(heat_map), generator)) for _ in range(_ORDERS)]
    return Deletion(mean_area([rank_cells(heat_map)]), mean_area(random), mean_area(moved))


def rank_cells(heat_map: HeatMap) -> Order:
    """Return the cells of an 8x8 grid, the one with the highest mean attribution first.

    >>> heat_map = np.zeros((16, 16), np.float32)
    >>> heat_map[2:4, 4:6] = 1  # the second row, the third column
    >>> int(rank_cells(heat_map)[0])
    10
    """
    return _ranked(_cells(heat_map))


def deletion_auc(
    network: DifferentiableNetwork, image: torch.Tensor, target: int, temperature: float, order: Order
) -> float:
    """Return the area in [0, 1] under the probability of the target class while the cells are removed in an order.

    In each step, four cells get the image's mean colour. The area is a sum of trapezoids over the share of removed
    cells.
    """
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    deleted_cells = np.linspace(0, len(order), _STEPS + 1)
    is_kept = torch.from_numpy(ranks[None] >= deleted_cells[:, None]).float()  # (17, 64)
    mask = functional.interpolate(
        is_kept.view(-1, 1, CELLS_ACROSS, CELLS_ACROSS), (image.shape[2], image.shape[3]), mode="nearest-exact"
    )
    probabilities = network.probabilities(image * mask + baseline_of(image) * (1 - mask), temperature)[:, target]
    return float((probabilities[1:] + probabilities[:-1]).mean() / 2)


def summarise(deletions: Sequence[Deletion], seed: int) -> Faithfulness:
    """Return how much sooner the probabilities fall than by chance, with paired bootstrap intervals over the images."""
    gains = np.array([one.random_auc - one.auc for one in deletions])
    gains_over_moved = np.array([one.moved_auc - one.auc for one in deletions])
    return Faithfulness(
        gain=mean_interval(gains, seed),
        better_than_random=float((gains > 0).mean()),
        gain_over_moved=mean_interval(gains_over_moved, seed),
        better_than_moved=float((gains_over_moved > 0).mean()),
    )


def _cells(heat_map: HeatMap) -> npt.NDArray[np.float64]:
    """Return the mean attribution of each cell, (8, 8)."""
    means = functional.adaptive_avg_pool2d(torch.from_numpy(heat_map)[None, None].double(), CELLS_ACROSS)
    return np.asarray(means[0, 0].numpy())


def _ranked(cells: npt.NDArray[np.float64]) -> Order:
    return np.argsort(-cells.ravel(), kind="stable")


def _moved(cells: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the cells, randomly rotated, mirrored and shifted around the edges: the same patches in other places."""
    turned = np.rot90(cells, int(generator.integers(4)))
    mirrored = turned[:, ::-1] if generator.integers(2) else turned
    rows, columns = generator.integers(0, CELLS_ACROSS, 2)
    return np.roll(mirrored, (int(rows), int(columns)), axis=(0, 1))
