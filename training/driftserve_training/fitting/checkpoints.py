"""What a run keeps of itself while it goes on: the state of the best epoch, and of the last one."""

import warnings
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

LAST_CHECKPOINT = "last.ckpt"


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's, whose paths follow the folder: a run may go on where its checkpoints were brought."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Lightning's, which warns of a folder that is not empty: ours never is, and what may lie in it was checked."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state of the run that was cut off, as if its folder had always been this one."""
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: self._here(state_dict[name]) for name in names}
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else path


def checkpoint_best(folder: Path) -> MovableCheckpoint:
    """Keeps the epoch with the best validation accuracy, as `epoch=N.ckpt`."""
    return MovableCheckpoint(
        folder, filename="{epoch}", monitor="val_accuracy", mode="max", save_on_train_epoch_end=True
    )


def checkpoint_last(folder: Path) -> MovableCheckpoint:
    """Keeps each epoch in place of the one before, at its end: else the rest of one that is over would be done again.

    Lightning's own `save_last` leaves out epochs that are not the best.
    """
    return MovableCheckpoint(
        folder,
        filename=Path(LAST_CHECKPOINT).stem,
        monitor=None,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
