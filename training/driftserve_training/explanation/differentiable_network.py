"""A network that takes floats, so that explanations can use gradients. It has the two steps of an archive's graph."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import to_tensor

_BATCH_SIZE = 32


class DifferentiableNetwork(nn.Module):
    """Maps N normalised images, (N, 3, H, W) float32, to the last feature map, then to logits of K classes, (N, K).

    The two steps, `features` and `head`, are those of `ExportGraph`. The input is floats, because integer pixels have
    no gradient. The parameters are shared with the classifier, and are frozen.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)
        self.features = _Features(classifier.backbone)
        self.head = _Head(classifier.backbone)

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return the input, (N, 3, H, W) float32, for pixels, (N, 3, H, W) uint8."""
        return self.classifier.normalise(to_tensor(pixels))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits, (N, K)."""
        logits: torch.Tensor = self.head(self.features(inputs))
        return logits

    def logits(self, inputs: torch.Tensor) -> npt.NDArray[np.float32]:
        """Return logits, (N, K), of any number of inputs, in batches and without gradients."""
        with torch.inference_mode():
            return np.concatenate([self(batch).numpy() for batch in torch.split(inputs, _BATCH_SIZE)])

    def probabilities(self, inputs: torch.Tensor, temperature: float) -> npt.NDArray[np.float64]:
        """Return the calibrated probabilities, (N, K), as the service would return them."""
        return calibrate(self.logits(inputs), temperature)

    def check_feature_map(self, height: int, width: int) -> None:
        """Check that the features are a map of C channels and several cells, channels first: (N, C, h, w).

        Raises:
            DataError: the features are tokens of a transformer, a map with channels last, or a single cell.
        """
        with torch.inference_mode():
            shape = tuple(self.features(torch.zeros(1, 3, height, width)).shape)
        channels = self.classifier.backbone.num_features
        if len(shape) != 4 or shape[1] != channels or shape[2] * shape[3] == 1:
            raise DataError(
                f"expected a feature map (N, {channels}, h, w) of several cells for grad_cam, got {shape}; "
                "choose another --method, or train at a larger image size"
            )


class _Features(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self._backbone = backbone

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        feature_map: torch.Tensor = self._backbone.forward_features(inputs)  # type: ignore[operator]
        return feature_map


class _Head(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self._backbone = backbone

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._backbone.forward_head(feature_map)  # type: ignore[operator]
        return logits
