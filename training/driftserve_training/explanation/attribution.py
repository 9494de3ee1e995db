"""Attribution: how much each pixel contributes to a label, by Integrated Gradients, Grad-CAM or occlusion (Captum)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch.nn import functional

from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Method

HeatMap = npt.NDArray[np.float32]  # (H, W): how much each pixel supports the label; below 0 it opposes the label

_BATCH_SIZE = 16
_SQUARES_ACROSS = 8  # number of occluding squares along the shorter side of an image
COMPLETENESS_TOLERANCE = 0.1  # largest accepted completeness error, a share of the change of the logit
_SMALL_CHANGE = 1.0  # a change of the logit; if the change is smaller, the error is a share of this value
DOUBLINGS = 3  # how often the steps may be doubled: up to eight times the steps


@dataclass(frozen=True)
class Attribution:
    """The heat map of an image.

    `completeness_error` is the share of the logit's change that the map misses. It is None for a method whose
    attributions need not add up to that change.
    """

    heat_map: HeatMap
    completeness_error: float | None = None


def attribute(
    network: DifferentiableNetwork,
    image: torch.Tensor,
    target: int,
    method: Method,
    steps: int,
    doublings: int = DOUBLINGS,
) -> Attribution:
    """Attribute the logit of a target class to the pixels of an input, (1, 3, H, W) float32, by one method.

    `steps` and `doublings` are for Integrated Gradients. It starts with `steps` steps, and doubles them at most
    `doublings` times.
    """
    if method == "integrated_gradients":
        return _integrated_gradients(network, image, target, steps, doublings)
    return Attribution(
        _grad_cam(network, image, target) if method == "grad_cam" else _occlusion(network, image, target)
    )


def baseline_of(inputs: torch.Tensor) -> torch.Tensor:
    """Return N baseline images, (N, 3, H, W): each is filled with the mean colour of its input."""
    return inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs).contiguous()


def _integrated_gradients(
    network: DifferentiableNetwork, image: torch.Tensor, target: int, steps: int, doublings: int
) -> Attribution:
    """Multiply the mean gradient on the straight path from the baseline by the change (Sundararajan et al. 2017).

    In theory the attributions of all channels and pixels add up to the change of the logit. If they do not, the steps
    along the path are too coarse, because rectifiers (ReLU) make the gradient jump. Then use twice as many steps.
    """
    baseline = baseline_of(image)
    change = network.logits(image)[0, target] - network.logits(baseline)[0, target]
    most_steps = steps * 2**doublings
    while True:
        parts, difference = IntegratedGradients(network).attribute(
            image,
            baseline,
            target=target,
            n_steps=steps,
            internal_batch_size=_BATCH_SIZE,
            return_convergence_delta=True,
        )
        error = abs(float(difference)) / max(abs(float(change)), _SMALL_CHANGE)
        if error <= COMPLETENESS_TOLERANCE or 2 * steps > most_steps:
            return Attribution(np.asarray(parts.sum(dim=1)[0].numpy(), np.float32), error)
        steps *= 2


def _grad_cam(network: DifferentiableNetwork, image: torch.Tensor, target: int) -> HeatMap:
    """Return the sum of the feature map's channels, weighted by their mean gradient (Selvaraju et al. 2017).

    The paper's last ReLU is left out, so that the map also shows what opposes the label, as with the other methods.
    With the ReLU, half of a map would be zero and have no order for the deletion test, and a map without positive parts
    would be blank.
    """
    coarse = LayerGradCam(network, network.features).attribute(image, target=target)
    fine = functional.interpolate(coarse.detach(), image.shape[2:], mode="bilinear")
    return np.asarray(fine[0, 0].numpy(), np.float32)


def _occlusion(network: DifferentiableNetwork, image: torch.Tensor, target: int) -> HeatMap:
    """Return how much the logit falls when the baseline replaces a square (Zeiler and Fergus 2014).

    The side of a square is an eighth of the image. On MobileNetV2, larger squares that overlap were worse by the
    deletion test.
    """
    side = max(1, min(image.shape[2:]) // _SQUARES_ACROSS)
    with torch.inference_mode():
        parts = Occlusion(network).attribute(
            image,
            sliding_window_shapes=(image.shape[1], side, side),
            strides=(image.shape[1], side, side),
            baselines=baseline_of(image),
            target=target,
            perturbations_per_eval=_BATCH_SIZE,
        )
    return np.asarray(parts[0, 0].numpy(), np.float32)  # the three channels have the same value
