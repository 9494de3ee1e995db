"""The scores of every epoch, as `history.csv`; a run that was cut off goes on with those that it had."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

COLUMNS = (
    "epoch",
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "val_macro_precision",
    "val_macro_recall",
    "learning_rate",
)
HISTORY_FILE = "history.csv"

Watch = Callable[[int, float], None]  # told of every epoch, from 1, and its validation accuracy


class History(Callback):
    """Writes a row an epoch, and tells who watches; what they raise ends the training."""

    def __init__(self, path: Path, watch: Watch | None) -> None:
        self._path = path
        self._watch = watch
        self._rows: list[list[float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        found |= {"epoch": epoch, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        found["train_loss"] = found.get("train_loss_epoch", float("nan"))
        self._rows.append([found[name] for name in COLUMNS])
        with self._path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([int(first), *rest] for first, *rest in self._rows)
        if self._watch is not None:
            self._watch(epoch, found["val_accuracy"])

    def state_dict(self) -> dict[str, Any]:
        """The rows, for the checkpoint."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows of the run that was cut off."""
        self._rows = state_dict["rows"]
