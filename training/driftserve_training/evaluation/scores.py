"""Logits of a network on a split, and the metrics of its predictions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from tqdm import tqdm

from driftserve.errors import DataError
from driftserve_training.dataset.images import Sample
from driftserve_training.network.classifier import Classifier


@dataclass(frozen=True)
class Evaluation:
    """The scores on one split, all in [0, 1]: accuracy is a mean over images, the others are means over classes."""

    accuracy: float
    macro_f1: float
    macro_precision: float
    macro_recall: float


def score(
    classifier: Classifier, loader: DataLoader[Sample], description: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the PyTorch network's logits for N images and K classes, (N, K), and the true class indices, (N,).

    Raises:
        DataError: a logit is infinite or NaN; the message begins with the description.
    """
    classifier.eval()
    logits, targets = [], []
    with torch.inference_mode():
        for pixels, target in tqdm(loader, desc=description, unit="batch"):
            logits.append(classifier(pixels.contiguous(memory_format=torch.channels_last)).numpy())
            targets.append(target.numpy())
    scored = np.concatenate(logits)
    check_finite(scored, description)
    return scored, np.concatenate(targets)


def check_finite(logits: npt.NDArray[np.float32], description: str) -> None:
    """Check the logits of N images and K classes, (N, K). A class that is chosen from NaN values has no meaning.

    Raises:
        DataError: a logit is infinite or NaN; the message begins with the description.
    """
    if bad := int((~np.isfinite(logits).all(axis=1)).sum()):
        raise DataError(
            f"{description}: expected finite logits, got infinite or NaN ones for {bad} of {len(logits)} images; "
            "train again, with a lower --learning-rate"
        )


def evaluate(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> Evaluation:
    """Return the metrics of the probabilities of N images and K classes, (N, K), for the true class indices, (N,)."""
    classes = probabilities.shape[1]
    metrics = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "macro_f1": MulticlassF1Score(classes, average="macro"),
            "macro_precision": MulticlassPrecision(classes, average="macro"),
            "macro_recall": MulticlassRecall(classes, average="macro"),
        }
    )
    values = metrics(torch.from_numpy(probabilities), torch.from_numpy(targets))
    return Evaluation(**{name: float(value) for name, value in values.items()})
