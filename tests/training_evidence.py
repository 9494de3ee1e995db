"""Write a training run's folder with invented results, as a card and an export need them."""

import csv
from dataclasses import replace
from pathlib import Path

from PIL import Image
from pydantic import TypeAdapter

from driftserve.certification.corruption.imagenet_c import CORRUPTIONS, SEVERITIES
from driftserve_training.dataset.manifest import Entry, Manifest
from driftserve_training.dataset.trained_images import read_trained_images
from driftserve_training.evaluation import quality
from driftserve_training.evaluation.document import (
    Calibration,
    ClassScores,
    Evaluation,
    Interval,
    ReliabilityBin,
    Robustness,
    RobustnessCell,
)
from driftserve_training.explanation.document import Explanation, Explanations, Faithfulness
from driftserve_training.network.trained import load_trained
from training_runs import save_run

LABELS = ("forest", "glacier", "sea")
_SCORE = Interval(0.8, 0.7, 0.9)


def write_run(folder: Path) -> None:
    """Write a run with an untrained network of three classes, its manifest and its evaluation only."""
    splits = {"train": 3, "val": 2, "test": 2}
    entries = tuple(
        Entry(f"{split}/{label}/{number}.jpg", split, label, f"{number:064x}")
        for split, images in splits.items()
        for label in LABELS
        for number in range(images)
    )
    fields = {"temperature": 1.25, "epochs": 2, "best_epoch": 2, "seconds": 12.0, "seed": 7}
    save_run(folder, Manifest(folder, entries), **fields, val_accuracy=0.75, val_macro_f1=0.7)
    write_evaluation(folder)


def write_evaluation(run: Path, **chosen: object) -> Evaluation:
    """Write and return an evaluation of the run's network; all scores are .8 unless `chosen` replaces them."""
    record, _ = load_trained(run)
    labels = record.labels
    tested = read_trained_images(run, record.manifest_sha256).split("test")
    evaluation = Evaluation(
        split="test",
        images=10 * len(labels),
        labels=labels,
        network=record.network.model,
        images_sha256=Manifest(run, tested).sha256,
        temperature=record.temperature,
        accuracy=_SCORE,
        macro_f1=_SCORE,
        macro_precision=_SCORE,
        macro_recall=_SCORE,
        weighted_f1=_SCORE,
        weighted_precision=_SCORE,
        weighted_recall=_SCORE,
        classes=tuple(ClassScores(label, 10, _SCORE, _SCORE, _SCORE) for label in labels),
        confusion=tuple(
            tuple(8 if row == column else 2 * (column == (row + 1) % len(labels)) for column in range(len(labels)))
            for row in range(len(labels))
        ),
        uncalibrated=Calibration(ece=0.09, brier=0.33, nll=0.71),
        calibrated=Calibration(ece=0.021, brier=0.31, nll=0.65),
        reliability=tuple(
            ReliabilityBin(number / 15, (number + 1) / 15, number, (number + 0.5) / 15, number / 15)
            for number in range(15)
        ),
    )
    evaluation = replace(evaluation, **chosen)  # type: ignore[arg-type]
    quality.write_evaluation(run, evaluation, seed=0)
    return evaluation


def robustness(accuracy: float) -> Robustness:
    """Return results for fifteen corruptions at five severities with mean `accuracy`; it falls with the severity."""
    cells = tuple(
        RobustnessCell(corruption, severity, accuracy + 0.1 * (3 - severity))
        for corruption in CORRUPTIONS
        for severity in SEVERITIES
    )
    return Robustness(24, 0.85, Interval(accuracy, accuracy - 0.05, accuracy + 0.05), cells)


def write_history(run: Path) -> None:
    """Write the history of two epochs, as `train` does."""
    with (run / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate"))
        writer.writerows([(1, 1.5, 1.25, 0.5, 0.45, 3e-3), (2, 0.75, 0.875, 0.75, 0.7, 1e-5)])


def write_explanations(run: Path) -> None:
    """Write explanations of a right and a wrong prediction with one picture each, as `explain` does."""
    folder = run / "explanations"
    folder.mkdir()
    faithfulness = Faithfulness(Interval(0.115, 0.015, 0.215), 0.75, Interval(0.05, -0.05, 0.15), 0.5)
    explained = []
    for number, (label, predicted) in enumerate((("sea", "sea"), ("sea", "glacier"))):
        Image.new("RGB", (8, 4), (40 * number, 90, 160)).save(folder / f"{number}.png")
        explained.append(
            Explanation(f"test/sea/{number}.jpg", f"{number}.png", label, predicted, 0.625, (0.1, 0.2, 0.3), 0.25, 0.5)
        )
    explanations = Explanations("occlusion", "test", 1e-7, tuple(explained), faithfulness)
    (folder / "explanations.json").write_bytes(TypeAdapter(Explanations).dump_json(explanations))
