"""Checkpoints of a run: one of the best epoch and one of the last epoch."""

import warnings
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

LAST_CHECKPOINT = "last.ckpt"


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, for a folder that may move: a run can resume from copied checkpoints."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Set up without Lightning's warning that the folder is not empty: it has run.json, which was checked."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of the interrupted run, with its paths changed to this folder."""
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: self._here(state_dict[name]) for name in names}
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else path


def checkpoint_best(folder: Path) -> MovableCheckpoint:
    """Return a callback that keeps the epoch with the best validation accuracy, as `epoch=N.ckpt`."""
    return MovableCheckpoint(
        folder, filename="{epoch}", monitor="val_accuracy", mode="max", save_on_train_epoch_end=True
    )


def checkpoint_last(folder: Path) -> MovableCheckpoint:
    """Return a callback that saves every epoch at its end, in place of the one before.

    A checkpoint from before the end would make a resumed run repeat the rest of a finished epoch. Lightning's own
    `save_last` skips epochs that are not the best.
    """
    return MovableCheckpoint(
        folder,
        filename=Path(LAST_CHECKPOINT).stem,
        monitor=None,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
