"""Summary of a network's logits on a split: its scores and its calibration."""

import numpy as np
import numpy.typing as npt

from driftserve.inference.prediction import calibrate
from driftserve_training.evaluation.calibration import measure_calibration, reliability
from driftserve_training.evaluation.confusion import Scores, confusion_matrix, counts_of, scores_of
from driftserve_training.evaluation.document import ClassScores, Evaluation
from driftserve_training.evaluation.intervals import interval_of, resample
from driftserve_training.network.trained import TrainedRecord


def summarise(
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    record: TrainedRecord,
    split: str,
    images_sha256: str,
    seed: int,
) -> Evaluation:
    """Return the evaluation of a network on a split.

    Args:
        logits: (N, K), of N images for K classes.
        targets: (N,), true class indices of the images.
        record: record of the network.
        split: name of the split.
        images_sha256: digest of the images, from the manifest of the split.
        seed: seed of the resamples.
    """
    probabilities = calibrate(logits, record.temperature)
    confusion = confusion_matrix(probabilities.argmax(axis=1), targets, len(record.labels))
    estimate, resampled = (
        scores_of(counts_of(confusion)),
        Scores(**resample(confusion, seed, lambda drawn: vars(scores_of(drawn)))),
    )
    return Evaluation(
        split=split,
        images=len(targets),
        labels=record.labels,
        network=record.network.model,
        images_sha256=images_sha256,
        temperature=record.temperature,
        accuracy=interval_of(estimate.accuracy, resampled.accuracy),
        macro_f1=interval_of(estimate.macro_f1, resampled.macro_f1),
        macro_precision=interval_of(estimate.macro_precision, resampled.macro_precision),
        macro_recall=interval_of(estimate.macro_recall, resampled.macro_recall),
        weighted_f1=interval_of(estimate.weighted_f1, resampled.weighted_f1),
        weighted_precision=interval_of(estimate.weighted_precision, resampled.weighted_precision),
        weighted_recall=interval_of(estimate.weighted_recall, resampled.weighted_recall),
        classes=tuple(
            ClassScores(
                label=label,
                images=int(confusion[index].sum()),
                precision=interval_of(estimate.precision[index], resampled.precision[:, index]),
                recall=interval_of(estimate.recall[index], resampled.recall[:, index]),
                f1=interval_of(estimate.f1[index], resampled.f1[:, index]),
            )
            for index, label in enumerate(record.labels)
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        uncalibrated=measure_calibration(calibrate(logits, 1.0), targets),
        calibrated=measure_calibration(probabilities, targets),
        reliability=reliability(probabilities, targets),
    )
