"""Evaluation of a training run on a split: scores, corrupted images, attacks, and comparison with a champion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Subset

from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.dataset.images import ImageDataset, decoded_images, evaluation_loader
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.evaluation.adversary import measure_attacks
from driftserve_training.evaluation.champion import read_champion
from driftserve_training.evaluation.comparison import compare
from driftserve_training.evaluation.corrupted import CorruptedImages, choose, read_views
from driftserve_training.evaluation.document import Attack, Comparison, Evaluation, Robustness
from driftserve_training.evaluation.label_issues import find_label_issues, label_issues_file, write_label_issues
from driftserve_training.evaluation.options import AssessmentOptions
from driftserve_training.evaluation.predictions import predictions_file, read_predictions, write_predictions
from driftserve_training.evaluation.quality import write_evaluation
from driftserve_training.evaluation.robustness import measure_robustness
from driftserve_training.evaluation.scores import score
from driftserve_training.evaluation.slices import slices_of
from driftserve_training.evaluation.summary import summarise
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.trained import TrainedRecord, load_trained


def assess(trained: Path, data: Path, options: AssessmentOptions) -> Evaluation:
    """Evaluate a training run; write evaluation, predictions and label issues into its folder; return the evaluation.

    Raises:
        DataError: the training run, the data set or the champion cannot be used.
    """
    record, classifier = load_trained(trained)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    split, spec = options.split, record.network.image_spec
    manifest = scan(data, (split,))
    _check_labels(manifest, record)

    logits, targets = score(
        classifier, evaluation_loader(manifest, split, spec, options.batch_size, options.workers), split
    )
    probabilities = calibrate(logits, record.temperature)
    predictions = trained / predictions_file(split)
    write_predictions(predictions, manifest.split(split), record.labels, probabilities)
    evaluation = replace(
        summarise(logits, targets, record, split, manifest.sha256, options.seed),
        comparison=_comparison(predictions, manifest, options),
        slices=slices_of(decoded_images(manifest, split), probabilities, targets, options.seed),
        robustness=_robustness(classifier, manifest, targets, record, options),
        attacks=_attacks(classifier, manifest, record, options),
        label_issues=_label_issues(predictions, trained, split),
    )
    write_evaluation(trained, evaluation, options.seed)
    return evaluation


def _check_labels(manifest: Manifest, record: TrainedRecord) -> None:
    if manifest.labels != record.labels:
        raise DataError(
            f"{manifest.folder}: expected the network's classes {', '.join(record.labels)}, got "
            f"{', '.join(manifest.labels)}; give data with the classes that it was trained on"
        )


def _comparison(predictions: Path, manifest: Manifest, options: AssessmentOptions) -> Comparison | None:
    if options.champion is None:
        return None
    champion = read_champion(options.champion, manifest, options.split)
    return compare(read_predictions(predictions), champion.predictions, champion.name, options.seed)


def _label_issues(predictions: Path, trained: Path, split: str) -> int | None:
    if split == "train":  # a network has learned its training labels, wrong ones too
        return None
    issues = find_label_issues(read_predictions(predictions))
    write_label_issues(trained / label_issues_file(split), issues)
    return len(issues)


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


def _attacks(
    classifier: Classifier, manifest: Manifest, record: TrainedRecord, options: AssessmentOptions
) -> tuple[Attack, ...]:
    if options.adversary_images == 0:
        return ()
    places = choose(manifest, options.split, options.adversary_images, options.seed)
    images = Subset(ImageDataset(manifest, options.split, record.network.image_spec), places)
    return measure_attacks(classifier, DataLoader(images, options.batch_size), options.seed)
