"""The loop: Lightning's, with checkpoints to go on from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger

from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.fitting.checkpoints import checkpoint_best, checkpoint_last
from driftserve_training.fitting.learner import Learner
from driftserve_training.fitting.patience import Patience
from driftserve_training.ranks import Ranks


def create_trainer(
    configuration: TrainingConfiguration,
    ranks: Ranks,
    checkpoints: Path,
    logger: TensorBoardLogger,
    callbacks: Sequence[Callback],
) -> lightning.Trainer:
    """Lightning's trainer, which keeps the best epoch's checkpoint by validation accuracy, and the last one's.

    Raises:
        DataError: the precision cannot be had here.
    """
    # In this order: the last one has both states.
    checkpointing = (checkpoint_best(checkpoints), checkpoint_last(checkpoints))
    optional: list[Callback] = []
    if configuration.patience:
        optional.append(Patience("val_loss", patience=configuration.patience))
    if configuration.ema_decay:
        optional.append(EMAWeightAveraging(decay=configuration.ema_decay))
    return lightning.Trainer(
        max_epochs=configuration.epochs,
        precision=precision_of(configuration),
        devices=ranks.processes_per_host,
        num_nodes=ranks.hosts,
        # The head's epochs leave the features without gradients, for which the others would wait.
        strategy="ddp_find_unused_parameters_true" if ranks.processes > 1 else "auto",
        use_distributed_sampler=False,  # the training loader has its share; every process validates on all of val/
        logger=logger,
        callbacks=[
            *callbacks,
            *optional,
            LearningRateMonitor("step"),
            TQDMProgressBar(refresh_rate=10),
            *checkpointing,
        ],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def restore_best(trainer: lightning.Trainer, learner: Learner) -> int:
    """Give the learner the weights of the best epoch, which is given back (from 1)."""
    best = trainer.checkpoint_callback
    assert isinstance(best, ModelCheckpoint)  # noqa: S101  create_trainer's own
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    learner.cpu().load_state_dict(state["state_dict"])
    return int(state["epoch"]) + 1


def precision_of(configuration: TrainingConfiguration) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """The precision of a run on this machine.

    Raises:
        DataError: it cannot be had here.
    """
    has_gpu = torch.cuda.is_available()
    if configuration.precision == "auto":
        return "16-mixed" if has_gpu else "32-true"
    if configuration.precision == "16-mixed" and not has_gpu:
        raise DataError("precision: expected 32-true or bf16-mixed on a processor, got 16-mixed, which takes a GPU")
    return configuration.precision
