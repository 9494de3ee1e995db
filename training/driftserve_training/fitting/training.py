"""A training run: fit, keep the best epoch by validation, calibrate."""

import json
import shutil
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from driftserve.prediction import calibrate
from driftserve_training.configuration import SPLITS, STREAM, TrainingConfiguration
from driftserve_training.dataset.images import ImageDataset, evaluation_loader, training_loader
from driftserve_training.dataset.location import located
from driftserve_training.dataset.manifest import Manifest, scan, write_manifest
from driftserve_training.evaluation.calibration import fit_temperature
from driftserve_training.evaluation.scores import evaluate, score
from driftserve_training.fitting.history import HISTORY_FILE, History, Watch
from driftserve_training.fitting.learner import Learner
from driftserve_training.fitting.loop import create_trainer, take_best
from driftserve_training.fitting.optimization import refuse_unknown_optimizer
from driftserve_training.fitting.pictures import Pictures, mistakes_figure
from driftserve_training.fitting.resumption import LAST_CHECKPOINT, begin, find_checkpoint
from driftserve_training.network.classifier import NetworkRecord, create_classifier
from driftserve_training.network.exportable import refuse_unexportable
from driftserve_training.network.trained import TrainedRecord, save_trained
from driftserve_training.ranks import Ranks, read_ranks

CONFIGURATION_FILE = "configuration.json"
# Of an earlier run, and of what was found out about it.
_LEFTOVERS = ("tensorboard", "explanations")
_LEFTOVER_FILES = ("trained.json", "network.pt", "evaluation*.json", "predictions-*.csv", "certificate.json", "card.*")


def train(
    configuration: TrainingConfiguration, checkpoints: Path | None = None, watch: Watch | None = None
) -> TrainedRecord | None:
    """Train on `train/`, choose the best epoch and calibrate on `val/`; write all to the output.

    A run that was cut off goes on after the last epoch that it has ended. Under torchrun its processes train together,
    each on its share of every epoch. The first one does all else; the others write nothing, and have no record.

    Args:
        configuration: of the run.
        checkpoints: the folder for them, `<output>/checkpoints` by default; to go on, every host needs it.
        watch: told of every epoch; what it raises ends the training.

    Raises:
        DataError: the data set, the weights or the configuration cannot be used.
    """
    refuse_unknown_optimizer(configuration.optimizer)
    with located(configuration) as data:
        return _train(configuration, scan(data, splits_of(data)), checkpoints, watch)


def splits_of(data: Path) -> tuple[str, ...]:
    """The splits of a folder: the three that there have to be, and the stream where there is one."""
    return (*SPLITS, STREAM) if (data / STREAM).is_dir() else SPLITS


def _train(
    configuration: TrainingConfiguration, manifest: Manifest, checkpoints: Path | None, watch: Watch | None
) -> TrainedRecord | None:
    started, ranks = time.monotonic(), read_ranks()
    lightning.seed_everything(configuration.seed, workers=True, verbose=False)
    classifier, network = create_classifier(configuration, len(manifest.labels))
    refuse_unexportable(classifier, network.image_spec, network.model)
    learner = Learner(classifier, manifest.labels, configuration)

    best_epoch = _fit(learner, network, manifest, configuration, ranks, checkpoints, watch)
    if best_epoch is None:
        return None
    record = _calibrated(learner, network, manifest, configuration, best_epoch, time.monotonic() - started)
    save_trained(configuration.output, record, classifier)
    return record


def _fit(
    learner: Learner,
    network: NetworkRecord,
    manifest: Manifest,
    configuration: TrainingConfiguration,
    ranks: Ranks,
    checkpoints: Path | None,
    watch: Watch | None,
) -> int | None:
    """The best epoch, whose weights the learner has; None in all processes but the first."""
    folder = checkpoints or configuration.output / "checkpoints"
    last = find_checkpoint(folder, configuration, manifest.sha256)
    if ranks.is_first:
        _prepare(folder, configuration, manifest, network.model, is_new=last is None)
    logger = _logger(configuration)
    trainer = create_trainer(
        configuration,
        ranks,
        folder,
        logger,
        [History(configuration.output / HISTORY_FILE, watch), Pictures(logger.experiment)] if ranks.is_first else [],
    )
    spec, batch_size, workers = network.image_spec, configuration.batch_size, configuration.loader_workers
    trainer.fit(
        learner,
        training_loader(manifest, spec, configuration.augmentation, batch_size, workers, configuration.seed, ranks),
        evaluation_loader(manifest, "val", spec, batch_size, workers),
        ckpt_path=last,
        weights_only=True,
    )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else torchmetrics would wait for processes that have ended
    if not ranks.is_first:
        return None
    best_epoch = take_best(trainer, learner)
    (folder / f"{LAST_CHECKPOINT}.ckpt").unlink()  # there is nothing left to go on with
    return best_epoch


def _prepare(
    folder: Path, configuration: TrainingConfiguration, manifest: Manifest, model: str, *, is_new: bool
) -> None:
    """The output folder; where the run is new nothing of an earlier one is left."""
    output = configuration.output
    output.mkdir(parents=True, exist_ok=True)
    if is_new:
        for folder_name in _LEFTOVERS:
            shutil.rmtree(output / folder_name, ignore_errors=True)
        for leftover in (path for pattern in _LEFTOVER_FILES for path in output.glob(pattern)):
            leftover.unlink()
        begin(folder, configuration, manifest.sha256)
    write_manifest(manifest, output / "manifest.csv")
    (output / CONFIGURATION_FILE).write_text(json.dumps(configuration.choices() | {"model": model}, indent=1))


def _logger(configuration: TrainingConfiguration) -> TensorBoardLogger:
    return TensorBoardLogger(configuration.output, name="tensorboard", version="", default_hp_metric=False)


def _calibrated(
    learner: Learner,
    network: NetworkRecord,
    manifest: Manifest,
    configuration: TrainingConfiguration,
    best_epoch: int,
    seconds: float,
) -> TrainedRecord:
    """The record, its temperature fitted on the validation images, whose scores and mistakes TensorBoard gets too."""
    loader = evaluation_loader(
        manifest, "val", network.image_spec, configuration.batch_size, configuration.loader_workers
    )
    logits, targets = score(learner.classifier, loader, "validation")
    temperature = fit_temperature(logits, targets)
    probabilities = calibrate(logits, temperature)
    scores = evaluate(probabilities, targets)

    logger = _logger(configuration)
    mistakes = mistakes_figure(
        ImageDataset(manifest, "val", network.image_spec), probabilities, targets, manifest.labels
    )
    if mistakes is not None:
        logger.experiment.add_figure("val_mistakes", mistakes)
    chosen = configuration.choices() | {"model": network.model}
    logger.log_hyperparams(chosen, {"best/val_accuracy": scores.accuracy, "best/val_macro_f1": scores.macro_f1})
    logger.finalize("success")
    return TrainedRecord(
        network=network,
        labels=manifest.labels,
        temperature=temperature,
        epochs=configuration.epochs,
        best_epoch=best_epoch,
        seconds=seconds,
        seed=configuration.seed,
        val_accuracy=scores.accuracy,
        val_macro_f1=scores.macro_f1,
        manifest_sha256=manifest.sha256,
    )
