"""Robustness: the accuracy of a network on corrupted images."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from driftserve_training.evaluation.corrupted import CELLS, Views
from driftserve_training.evaluation.document import Robustness, RobustnessCell
from driftserve_training.evaluation.intervals import mean_interval
from driftserve_training.evaluation.scores import check_finite
from driftserve_training.network.classifier import Classifier


def measure_robustness(
    classifier: Classifier, images: Iterable[Views], targets: npt.NDArray[np.int64], batch_size: int, seed: int
) -> Robustness:
    """Measure the accuracy of a network on each view of N images; `targets`, (N,), are their class indices.

    The mean covers all corruptions and severities. Hendrycks and Dietterich (2019) divide it by the mean of another
    network; it is not divided here. The resamples for the interval draw all views of an image together.
    """
    predicted = np.stack([_predict(classifier, views, batch_size) for views in images])  # (N, 76)
    is_right = predicted == targets[:, None]
    return Robustness(
        images=len(targets),
        clean_accuracy=float(is_right[:, 0].mean()),
        mean_corruption_accuracy=mean_interval(is_right[:, 1:].mean(axis=1), seed),
        cells=tuple(
            RobustnessCell(corruption, severity, float(accuracy))
            for (corruption, severity), accuracy in zip(CELLS, is_right[:, 1:].mean(axis=0), strict=True)
        ),
    )


def _predict(classifier: Classifier, views: Views, batch_size: int) -> npt.NDArray[np.int64]:
    """Return the predicted class indices, (76,)."""
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(views), batch_size)
        logits = np.concatenate([classifier(batch).numpy() for batch in batches])
    check_finite(logits, "corrupted images")
    return np.asarray(logits.argmax(axis=1))
