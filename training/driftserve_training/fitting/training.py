"""A training run: fit, keep the best epoch by validation, calibrate, test once."""

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from driftserve.prediction import calibrate
from driftserve_training.configuration import SPLITS, STREAM, TrainingConfiguration
from driftserve_training.dataset.images import evaluation_loader, training_loader
from driftserve_training.dataset.manifest import Manifest, scan, write_manifest
from driftserve_training.evaluation.calibration import fit_temperature
from driftserve_training.evaluation.scores import Evaluation, confusion_figure, evaluate, score
from driftserve_training.fitting.learner import Learner
from driftserve_training.network.classifier import create_classifier
from driftserve_training.network.trained import TrainedRecord, save_trained
from driftserve_training.ranks import Ranks, read_ranks

TEST_PREDICTIONS_FILE = "predictions-test.csv"


class _Watched(lightning.Callback):
    """Tells a function of each validation."""

    def __init__(self, watch: Callable[[int, float], None]) -> None:
        self._watch = watch

    def on_validation_end(self, trainer: lightning.Trainer, *_: object) -> None:
        self._watch(trainer.current_epoch + 1, float(trainer.callback_metrics["val_accuracy"]))


def train(
    configuration: TrainingConfiguration, watch: Callable[[int, float], None] | None = None
) -> TrainedRecord | None:
    """Train on `train/`, choose and calibrate on `val/`, report on `test/`; write all to the output.

    Under torchrun its processes train together, each on its share of every epoch. The first one does all else; the
    others write nothing, and have no record.

    Raises:
        DataError: the data set or the weights cannot be used.
    """
    started = time.monotonic()
    ranks = read_ranks()
    manifest = _scan(configuration, ranks)
    lightning.seed_everything(configuration.seed, workers=True, verbose=False)
    classifier, network = create_classifier(configuration, len(manifest.labels))
    logger = TensorBoardLogger(configuration.output, name="tensorboard", version="")

    spec, batch_size, workers = network.image_spec, configuration.batch_size, configuration.loader_workers
    val = evaluation_loader(manifest, "val", spec, batch_size, workers)
    best_epoch = _fit(
        Learner(classifier, len(manifest.labels), configuration),
        training_loader(manifest, spec, batch_size, workers, configuration.seed, ranks),
        val,
        logger,
        configuration,
        ranks,
        watch,
    )
    if best_epoch is None:
        return None
    val_logits, val_targets = score(classifier, val, "validation")
    temperature = fit_temperature(val_logits, val_targets)

    test = evaluation_loader(manifest, "test", spec, batch_size, workers)
    test_logits, test_targets = score(classifier, test, "test")
    probabilities = calibrate(test_logits, temperature)
    evaluation = evaluate(probabilities, test_targets)
    _log_evaluation(logger, evaluation, probabilities, test_targets, manifest.labels)
    _write_predictions(configuration.output / TEST_PREDICTIONS_FILE, manifest, probabilities)

    record = TrainedRecord(
        network=network,
        labels=manifest.labels,
        temperature=temperature,
        epochs=configuration.epochs,
        best_epoch=best_epoch,
        seconds=time.monotonic() - started,
        seed=configuration.seed,
        val_accuracy=evaluate(calibrate(val_logits, temperature), val_targets).accuracy,
        test_accuracy=evaluation.accuracy,
        test_macro_f1=evaluation.macro_f1,
        manifest_sha256=manifest.sha256,
    )
    save_trained(configuration.output, record, classifier)
    return record


def _scan(configuration: TrainingConfiguration, ranks: Ranks) -> Manifest:
    """The manifest, written to the output folder, in which nothing of an earlier run is left."""
    if ranks.is_first:
        configuration.output.mkdir(parents=True, exist_ok=True)
        for leftover in ("checkpoints", "tensorboard"):
            shutil.rmtree(configuration.output / leftover, ignore_errors=True)
    has_stream = (configuration.data / STREAM).is_dir()
    manifest = scan(configuration.data, (*SPLITS, STREAM) if has_stream else SPLITS)
    if ranks.is_first:
        write_manifest(manifest, configuration.output / "manifest.csv")
    return manifest


def _fit(
    learner: Learner,
    train_loader: object,
    val_loader: object,
    logger: TensorBoardLogger,
    configuration: TrainingConfiguration,
    ranks: Ranks,
    watch: Callable[[int, float], None] | None,
) -> int | None:
    """Train, and leave the learner with the weights of the best epoch, which is given back (from 1).

    None in all processes but the first, whose disk alone need have the checkpoint.
    """
    checkpoint = ModelCheckpoint(
        configuration.output / "checkpoints", filename="{epoch}", monitor="val_accuracy", mode="max"
    )
    trainer = lightning.Trainer(
        max_epochs=configuration.epochs,
        devices=ranks.processes_per_host,
        num_nodes=ranks.hosts,
        # The head's epochs leave the features without gradients, for which the others would wait.
        strategy="ddp_find_unused_parameters_true" if ranks.processes > 1 else "auto",
        use_distributed_sampler=False,  # the training loader has its share; every process validates on all of val/
        logger=logger,
        callbacks=[checkpoint, TQDMProgressBar(refresh_rate=10), *([_Watched(watch)] if watch else [])],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
    trainer.fit(learner, train_loader, val_loader)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else torchmetrics would wait for processes that have ended
    if not ranks.is_first:
        return None
    best = Learner.load_from_checkpoint(  # strict: every weight is there
        checkpoint.best_model_path,
        classifier=learner.classifier,
        classes=learner.classes,
        configuration=configuration,
        map_location="cpu",
        weights_only=True,
    )
    learner.classifier.load_state_dict(best.classifier.state_dict())
    learner.classifier.cpu()
    return int(Path(checkpoint.best_model_path).stem.split("=")[1].split("-")[0]) + 1


def _log_evaluation(
    logger: TensorBoardLogger,
    evaluation: Evaluation,
    probabilities: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    labels: tuple[str, ...],
) -> None:
    logger.log_metrics({f"test_{name}": value for name, value in asdict(evaluation).items()})
    logger.experiment.add_figure("test_confusion", confusion_figure(probabilities, targets, labels))
    logger.finalize("success")


def _write_predictions(path: Path, manifest: Manifest, probabilities: npt.NDArray[np.float64]) -> None:
    """The eager network's calibrated probabilities of every test image, to hold served ones against."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", *manifest.labels))
        for entry, row in zip(manifest.split("test"), probabilities.tolist(), strict=True):
            writer.writerow((entry.path, entry.label, *(repr(value) for value in row)))
