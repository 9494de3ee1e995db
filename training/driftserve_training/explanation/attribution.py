"""What each pixel has to do with a label: Integrated Gradients, Grad-CAM and occlusion, by Captum."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch.nn import functional

from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Method

HeatMap = npt.NDArray[np.float32]  # (H, W): how much each pixel speaks for the label, or below 0 against it

_BATCH_SIZE = 16  # inputs that the network takes together
_SQUARES_ACROSS = 8
COMPLETENESS_TOLERANCE = 0.1  # a share of the change of the logit
_SMALL_CHANGE = 1.0  # of a logit, below which an error counts as a share of this
DOUBLINGS = 3  # to eight times the steps


@dataclass(frozen=True)
class Attribution:
    """The heat map of an image, and by what share of the logit's change it misses it; None where none is promised."""

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
    """What speaks for the logit of a target class in an input, (1, 3, H, W) float32, by one method.

    `steps` are those of Integrated Gradients, doubled at most `doublings` times.
    """
    if method == "integrated_gradients":
        return _integrated_gradients(network, image, target, steps, doublings)
    return Attribution(
        _grad_cam(network, image, target) if method == "grad_cam" else _occlusion(network, image, target)
    )


def baseline_of(inputs: torch.Tensor) -> torch.Tensor:
    """Images without anything in them, (N, 3, H, W): each all of its own mean colour."""
    return inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs).contiguous()


def _integrated_gradients(
    network: DifferentiableNetwork, image: torch.Tensor, target: int, steps: int, doublings: int
) -> Attribution:
    """The gradient on the straight path from the baseline, times the way (Sundararajan et al. 2017).

    The parts of all channels and pixels promise to add up to the change of the logit. Where they do not, the steps of
    the quadrature (Gauss-Legendre) are doubled: rectifiers make a path of many kinks.
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
    """The feature map's channels, weighted by their mean gradient (Selvaraju et al. 2017).

    Without the paper's last ReLU: as with the other methods one sees what speaks against the label, too. Behind it
    half of a map had no order, for the deletion test, and one without positive parts would be blank.
    """
    coarse = LayerGradCam(network, network.features).attribute(image, target=target)
    fine = functional.interpolate(coarse.detach(), image.shape[2:], mode="bilinear")
    return np.asarray(fine[0, 0].numpy(), np.float32)


def _occlusion(network: DifferentiableNetwork, image: torch.Tensor, target: int) -> HeatMap:
    """By how much the logit falls when a square becomes the baseline (Zeiler and Fergus 2014).

    Squares of an eighth of the image: on MobileNetV2 larger ones, that overlap, said less by the deletion test.
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
    return np.asarray(parts[0, 0].numpy(), np.float32)  # one value for the three channels
