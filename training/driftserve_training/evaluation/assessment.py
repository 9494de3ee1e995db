"""The evaluation of a trained network on a split: its scores, how sure they are, what corruptions leave of them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from driftserve.errors import DataError
from driftserve.prediction import calibrate
from driftserve_training.dataset.images import evaluation_loader
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.evaluation.calibration import measure_calibration, reliability
from driftserve_training.evaluation.comparison import compare
from driftserve_training.evaluation.confusion import confusion_matrix, scores_of
from driftserve_training.evaluation.corrupted import CorruptedImages, choose, read_views
from driftserve_training.evaluation.document import ClassScores, Comparison, Evaluation, Interval, Robustness
from driftserve_training.evaluation.intervals import interval_of, resample_confusion
from driftserve_training.evaluation.options import AssessmentOptions
from driftserve_training.evaluation.predictions import predictions_file, read_predictions, write_predictions
from driftserve_training.evaluation.quality import write_evaluation
from driftserve_training.evaluation.robustness import measure_robustness
from driftserve_training.evaluation.scores import score
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.trained import TrainedRecord, load_trained


def assess(trained: Path, data: Path, options: AssessmentOptions) -> Evaluation:
    """The evaluation of a training run; it and the predictions are written into the run's folder.

    Raises:
        DataError: the training run, the data set or the champion cannot be used.
    """
    record, classifier = load_trained(trained)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    manifest = scan(data, (options.split,))
    _check_labels(manifest, record)
    predictions_path = trained / predictions_file(options.split)

    loader = evaluation_loader(
        manifest, options.split, record.network.image_spec, options.batch_size, workers=options.workers
    )
    logits, targets = score(classifier, loader, options.split)
    write_predictions(
        predictions_path, manifest.split(options.split), record.labels, calibrate(logits, record.temperature)
    )
    evaluation = _evaluate(
        logits,
        targets,
        record,
        options,
        comparison=_comparison(predictions_path, options),
        robustness=_robustness(classifier, manifest, targets, record, options),
    )
    write_evaluation(trained, evaluation, options.seed)
    return evaluation


def _check_labels(manifest: Manifest, record: TrainedRecord) -> None:
    if manifest.labels != record.labels:
        raise DataError(
            f"{manifest.folder}: expected the network's classes {', '.join(record.labels)}, got "
            f"{', '.join(manifest.labels)}; evaluate it on data like what it was trained on"
        )


def _comparison(predictions: Path, options: AssessmentOptions) -> Comparison | None:
    if options.champion is None:
        return None
    is_folder = options.champion.is_dir()
    file = options.champion / predictions_file(options.split) if is_folder else options.champion
    name = (file.parent if is_folder else file).resolve().name
    return compare(read_predictions(predictions), read_predictions(file), name, options.seed)


def _robustness(
    classifier: Classifier,
    manifest: Manifest,
    targets: npt.NDArray[np.int64],
    record: TrainedRecord,
    options: AssessmentOptions,
) -> Robustness | None:
    if options.robustness_images == 0:
        return None
    places = choose(manifest, options.split, options.robustness_images, options.seed)
    images = CorruptedImages(manifest, options.split, places, record.network.image_spec, options.seed)
    views = read_views(images, options.workers, options.cache)
    return measure_robustness(classifier, views, targets[places], options.batch_size, options.seed)


def _evaluate(
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    record: TrainedRecord,
    options: AssessmentOptions,
    comparison: Comparison | None,
    robustness: Robustness | None,
) -> Evaluation:
    probabilities = calibrate(logits, record.temperature)
    confusion = confusion_matrix(probabilities.argmax(axis=1), targets, len(record.labels))
    intervals, classes = _intervals(confusion, record.labels, options.seed)
    return Evaluation(
        split=options.split,
        images=len(targets),
        labels=record.labels,
        network=record.network.model,
        manifest_sha256=record.manifest_sha256,
        temperature=record.temperature,
        **intervals,
        classes=classes,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        uncalibrated=measure_calibration(calibrate(logits, 1.0), targets),
        calibrated=measure_calibration(probabilities, targets),
        reliability=reliability(probabilities, targets),
        robustness=robustness,
        comparison=comparison,
    )


def _intervals(
    confusion: npt.NDArray[np.int64], labels: tuple[str, ...], seed: int
) -> tuple[dict[str, Interval], tuple[ClassScores, ...]]:
    """The scores of the whole, by their names in `Evaluation`, and those of the classes."""
    point, resampled = scores_of(confusion), scores_of(resample_confusion(confusion, seed))
    whole = {
        name: interval_of(float(getattr(point, name)), getattr(resampled, name))
        for name in Evaluation.__annotations__
        if hasattr(point, name)
    }
    classes = tuple(
        ClassScores(
            label,
            int(confusion[index].sum()),
            *(
                interval_of(getattr(point, name)[index], getattr(resampled, name)[:, index])
                for name in ("precision", "recall", "f1")
            ),
        )
        for index, label in enumerate(labels)
    )
    return whole, classes
