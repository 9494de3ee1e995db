"""A training run: fit the network, keep the epoch with the best validation accuracy, and calibrate it."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from driftserve.archive.contract import file_sha256
from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.configuration import SPLITS, STREAM, TrainingConfiguration
from driftserve_training.dataset.augmentation import build_augmentation
from driftserve_training.dataset.images import ImageDataset, evaluation_loader, training_loader
from driftserve_training.dataset.location import located
from driftserve_training.dataset.manifest import MANIFEST_FILE, Manifest, scan, write_manifest
from driftserve_training.evaluation.calibration import fit_temperature
from driftserve_training.evaluation.scores import evaluate, score
from driftserve_training.fitting.history import HISTORY_FILE, EpochCallback, History
from driftserve_training.fitting.learner import Learner
from driftserve_training.fitting.loop import create_trainer, precision_of, restore_best
from driftserve_training.fitting.optimization import check_optimizer
from driftserve_training.fitting.pictures import Pictures, mistakes_figure
from driftserve_training.fitting.resumption import begin, find_checkpoint, identify
from driftserve_training.libraries import library_versions
from driftserve_training.network.classifier import NetworkRecord, create_classifier, pretrained_file
from driftserve_training.network.exportable import check_exportable
from driftserve_training.network.trainable import check_trainable, images_in_batch
from driftserve_training.network.trained import TrainedRecord, is_trained, load_trained, save_trained
from driftserve_training.ranks import Ranks, read_ranks

CONFIGURATION_FILE = "configuration.json"
# Folders and files of an earlier run in the same output.
_LEFTOVERS = ("tensorboard", "explanations")
_LEFTOVER_FILES = (
    *("trained.json", "network.pt", "certificate.json", "card.*"),
    *("evaluation*.json", "predictions-*.csv", "label_issues-*.csv"),
)


def train(
    configuration: TrainingConfiguration,
    checkpoints: Path | None = None,
    on_epoch: EpochCallback | None = None,
    revision: str = "unknown",
) -> TrainedRecord | None:
    """Train on `train/`, choose the best epoch and calibrate on `val/`; write the results, and return the record.

    An interrupted run is resumed after its last complete epoch; a finished run is returned as it is. Under torchrun all
    processes train together, each on its share of every epoch. The first process does everything else; the others write
    nothing and return None.

    Args:
        configuration: parameters of the run.
        checkpoints: folder of the checkpoints, `<output>/checkpoints` by default; to resume, every host needs it.
        on_epoch: called after every epoch; an exception in it ends the training.
        revision: revision of the training code, for the record.

    Raises:
        DataError: the data set, the weights or the configuration cannot be used, or the training diverged.
    """
    _check_configuration(configuration)
    with located(configuration) as data:
        return _train(configuration, scan(data, splits_of(data)), checkpoints, on_epoch, revision)


def _check_configuration(configuration: TrainingConfiguration) -> None:
    """Find mistakes in the configuration before many images are read."""
    check_optimizer(configuration.optimizer)
    build_augmentation(configuration.augmentation)
    precision_of(configuration)


def splits_of(data: Path) -> tuple[str, ...]:
    """Return the splits of a folder: the three required ones, and the stream if it exists."""
    return (*SPLITS, STREAM) if (data / STREAM).is_dir() else SPLITS


def _train(
    configuration: TrainingConfiguration,
    manifest: Manifest,
    checkpoints: Path | None,
    on_epoch: EpochCallback | None,
    revision: str,
) -> TrainedRecord | None:
    ranks = read_ranks()
    lightning.seed_everything(configuration.seed, workers=True, verbose=False)
    classifier, network = create_classifier(configuration, len(manifest.labels))
    check_exportable(classifier, network.image_spec, network.model)
    batch = images_in_batch(configuration.batch_size, len(manifest.split("train")), ranks.processes)
    check_trainable(classifier, network.image_spec, network.model, batch)
    folder = checkpoints or configuration.output / "checkpoints"
    identity = identify(configuration, network, manifest.sha256, ranks.processes)
    last = find_checkpoint(folder, identity)
    if last is not None and ranks.processes == 1 and is_trained(configuration.output):
        return load_trained(configuration.output)[0]
    if ranks.is_first:
        if last is None:
            _clear(configuration.output)
            begin(folder, identity)
        _describe(configuration, manifest, network.model)

    learner = Learner(classifier, manifest.labels, configuration)
    history = History(configuration.output / HISTORY_FILE, on_epoch)
    trainer = _fit(learner, network, manifest, configuration, ranks, folder, last, history)
    if not ranks.is_first:
        return None
    calibrated = _calibrate(learner, network, manifest, configuration, restore_best(trainer, learner), history)
    weights = pretrained_file(configuration, network.model)
    record = replace(
        calibrated,
        revision=revision,
        libraries=library_versions(),
        weights_sha256=file_sha256(weights) if weights else None,
    )
    save_trained(configuration.output, record, classifier)
    return record


def _fit(
    learner: Learner,
    network: NetworkRecord,
    manifest: Manifest,
    configuration: TrainingConfiguration,
    ranks: Ranks,
    checkpoints: Path,
    last: Path | None,
    history: History,
) -> lightning.Trainer:
    """Fit the learner, from the last checkpoint if there is one, and return the trainer."""
    logger = _logger(configuration)
    callbacks = [history, Pictures(logger.experiment)] if ranks.is_first else []
    trainer = create_trainer(configuration, ranks, checkpoints, logger, callbacks)
    spec, batch_size, workers = network.image_spec, configuration.batch_size, configuration.loader_workers
    try:
        trainer.fit(
            learner,
            training_loader(manifest, spec, configuration.augmentation, batch_size, workers, configuration.seed, ranks),
            evaluation_loader(manifest, "val", spec, batch_size, workers),
            ckpt_path=last,
            weights_only=True,
        )
    except SIGTERMException as error:  # Lightning 2.6 gives it no status, so the program would end with 0
        raise SystemExit(128 + signal.SIGTERM) from error
    except SystemExit as error:  # Lightning 2.6 exits with status 1 on Ctrl-C
        raise KeyboardInterrupt from error
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # otherwise torchmetrics would wait for processes that have ended
    return trainer


def _clear(output: Path) -> None:
    """Delete the files of an earlier run, including its evaluation and explanations.

    Raises:
        DataError: there are such files, but no training run wrote them.
    """
    output.mkdir(parents=True, exist_ok=True)
    folders = [output / name for name in _LEFTOVERS if (output / name).exists()]
    files = [path for pattern in _LEFTOVER_FILES for path in output.glob(pattern)]
    if (folders or files) and not (output / CONFIGURATION_FILE).exists():
        raise DataError(
            f"{min(folders + files)}: expected an output folder without such a file, or one of a training run, with "
            f"{CONFIGURATION_FILE}, because a run replaces these files; give another --output, or remove it"
        )
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        file.unlink()


def _describe(configuration: TrainingConfiguration, manifest: Manifest, model: str) -> None:
    """Write the manifest and the parameters of the run."""
    output = configuration.output
    output.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, output / MANIFEST_FILE)
    (output / CONFIGURATION_FILE).write_text(json.dumps(configuration.choices() | {"model": model}, indent=1))


def _logger(configuration: TrainingConfiguration) -> TensorBoardLogger:
    return TensorBoardLogger(configuration.output, name="tensorboard", version="", default_hp_metric=False)


def _calibrate(
    learner: Learner,
    network: NetworkRecord,
    manifest: Manifest,
    configuration: TrainingConfiguration,
    best_epoch: int,
    history: History,
) -> TrainedRecord:
    """Fit the temperature on the validation images, log scores and mistakes to TensorBoard, and return the record."""
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
    parameters = configuration.choices() | {"model": network.model}
    logger.log_hyperparams(parameters, {"best/val_accuracy": scores.accuracy, "best/val_macro_f1": scores.macro_f1})
    logger.finalize("success")
    return TrainedRecord(
        network=network,
        labels=manifest.labels,
        temperature=temperature,
        epochs=history.epochs,
        best_epoch=best_epoch,
        seconds=history.seconds,
        seed=configuration.seed,
        val_accuracy=scores.accuracy,
        val_macro_f1=scores.macro_f1,
        manifest_sha256=manifest.sha256,
    )
