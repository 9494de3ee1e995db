"""One trial of a search: a training run with the parameters of one point, in its own folder."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import optuna
import timm
import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import evaluation_loader
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.evaluation.scores import evaluate, score
from driftserve_training.fitting.optimization import check_optimizer
from driftserve_training.fitting.training import CONFIGURATION_FILE, train
from driftserve_training.network.classifier import create_classifier
from driftserve_training.network.exportable import check_exportable
from driftserve_training.network.trainable import check_trainable
from driftserve_training.network.trained import load_trained
from driftserve_training.search.plan import Plan
from driftserve_training.search.report import WinnerScores
from driftserve_training.search.scoring import Assignment, EpochCallback, Outcome
from driftserve_training.search.space import Point, Space

_CHECKPOINTS = "checkpoints"
_WEIGHTS = "*.pt"


def trial_folder(output: Path, number: int) -> Path:
    """Return the folder of a trial; it is like the folder of a `train` run."""
    return output / "trials" / f"{number:04d}"


def check_names(space: Space) -> None:
    """Check that timm has every model and every optimizer.

    Raises:
        DataError: timm does not have one of them.
    """
    for name in space.models:
        if not timm.is_model(name.split(".")[0]):
            raise DataError(f"expected models of timm, got {name!r}; timm.list_models() has their names")
    for name in space.optimizers:
        check_optimizer(name)


def check_networks(configuration: TrainingConfiguration, space: Space, classes: int) -> None:
    """Check that every model can be built with its weights, written as TorchScript, and trained with the batch size.

    Raises:
        DataError: a model cannot be built, written or trained.
    """
    for model in space.models:
        classifier, network = create_classifier(configuration.model_copy(update={"model": model}), classes)
        check_exportable(classifier, network.image_spec, model)
        check_trainable(classifier, network.image_spec, model, configuration.batch_size)


class Training:
    """Trains the trials of a search, and writes the parameters and scores of each to TensorBoard."""

    def __init__(self, configuration: TrainingConfiguration, plan: Plan, manifest: Manifest) -> None:
        self._configuration = configuration
        self._plan = plan
        self._manifest = manifest

    def __call__(self, assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
        """Train one trial; continue from the checkpoint of an earlier attempt if there is one.

        Raises:
            DataError: the trial cannot be trained.
        """
        folder = trial_folder(self._configuration.output, assignment.number)
        if not assignment.is_retry:
            _remove(folder)
        val_accuracies: list[float] = []

        def keep_and_report(epoch: int, val_accuracy: float) -> None:
            val_accuracies.append(val_accuracy)
            on_epoch(epoch, val_accuracy)

        try:
            val_accuracy = self._train(assignment.point, folder, keep_and_report)
        except optuna.TrialPruned:
            self._log(folder, assignment.point, {"val_accuracy": max(val_accuracies)})
            remove_network(folder)
            raise
        shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
        test_accuracy = None
        if self._plan.rank_by == "test":
            test_accuracy = self.test(assignment.number).accuracy
        scores = {"val_accuracy": val_accuracy} | ({} if test_accuracy is None else {"test_accuracy": test_accuracy})
        self._log(folder, assignment.point, scores)
        return Outcome(val_accuracy, test_accuracy)

    def test(self, number: int) -> WinnerScores:
        """Return the scores of a trial's network on the test split.

        Raises:
            DataError: the trial's folder has no network.
        """
        record, classifier = load_trained(trial_folder(self._configuration.output, number))
        spec, batch_size = record.network.image_spec, self._configuration.batch_size
        loader = evaluation_loader(self._manifest, "test", spec, batch_size, self._configuration.loader_workers)
        logits, targets = score(classifier, loader, "test")
        evaluation = evaluate(calibrate(logits, record.temperature), targets)
        return WinnerScores(number, evaluation.accuracy, evaluation.macro_f1)

    def _train(self, point: Point, folder: Path, on_epoch: EpochCallback) -> float:
        parameters = self._configuration.model_dump() | asdict(point) | {"output": folder}
        try:
            record = train(TrainingConfiguration.model_validate(parameters), on_epoch=on_epoch)
        except torch.OutOfMemoryError as error:  # a smaller model of the search may fit
            torch.cuda.empty_cache()
            raise DataError(f"{point.model} does not fit into the GPU: {error}; reduce --batch-size") from error
        if record is None:
            raise AssertionError("a search runs in one process, which has the record")
        return record.val_accuracy

    def _log(self, folder: Path, point: Point, scores: Mapping[str, float]) -> None:
        space = self._plan.space
        choices: dict[str, list[str]] = {"model": list(space.models), "optimizer": list(space.optimizers)}
        objective = scores.get("test_accuracy", scores["val_accuracy"])
        metrics = {"search/objective": objective} | {f"search/{name}": value for name, value in scores.items()}
        with SummaryWriter(folder / "hparams") as writer:
            for summary in hparams(asdict(point), metrics, choices):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)
            for name, value in metrics.items():
                writer.add_scalar(name, value)


def _remove(folder: Path) -> None:
    """Remove the folder of a trial of another study, whose journal was deleted.

    Raises:
        DataError: the folder has files, but not of a trial.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIGURATION_FILE).exists():
        raise DataError(
            f"{folder}: expected no such folder, or that of a trial, with {CONFIGURATION_FILE}, got other files; "
            "move them, or give another --output"
        )
    shutil.rmtree(folder, ignore_errors=True)


def remove_network(folder: Path) -> None:
    """Delete the weights and checkpoints of a trial; its record and scores stay."""
    shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    for weights in folder.glob(_WEIGHTS):
        weights.unlink(missing_ok=True)


def remove_losers(output: Path, losers: Sequence[int]) -> None:
    """Delete the weights and checkpoints of trials that cannot win any more."""
    for number in losers:
        remove_network(trial_folder(output, number))
