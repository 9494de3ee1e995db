"""Training loop: Lightning's trainer, with checkpoints to resume from."""

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
    """Return a trainer that keeps checkpoints of the last epoch and of the epoch with the best validation accuracy.

    Raises:
        DataError: this machine does not support the precision.
    """
    # The order matters: the last checkpoint must contain the state of both callbacks.
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
        # In the epochs of the head the features have no gradients; plain ddp would wait for them.
        strategy="ddp_find_unused_parameters_true" if ranks.processes > 1 else "auto",
        use_distributed_sampler=False,  # the training loader splits the images; every process validates on all of val/
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
    """Load the weights of the best epoch into the learner and return the number of that epoch, from 1."""
    best = trainer.checkpoint_callback
    assert isinstance(best, ModelCheckpoint)  # noqa: S101  create_trainer's own
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    learner.cpu().load_state_dict(state["state_dict"])
    return int(state["epoch"]) + 1


def precision_of(configuration: TrainingConfiguration) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the precision of a run on this machine.

    Raises:
        DataError: this machine does not support the precision.
    """
    has_gpu = torch.cuda.is_available()
    if configuration.precision == "auto":
        return "16-mixed" if has_gpu else "32-true"
    if configuration.precision == "16-mixed" and not has_gpu:
        raise DataError("precision: expected 32-true or bf16-mixed on a CPU, got 16-mixed, which needs a GPU")
    return configuration.precision
