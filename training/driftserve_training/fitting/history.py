"""Write the scores of every epoch to `history.csv`; a resumed run keeps the rows it already had."""

import csv
import time
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

EpochCallback = Callable[[int, float], None]  # takes the number of an epoch, from 1, and its val_accuracy


class History(Callback):
    """Callback that writes a row per epoch and then calls `on_epoch`; an exception of `on_epoch` ends the training."""

    def __init__(self, path: Path, on_epoch: EpochCallback | None) -> None:
        self._path = path
        self._on_epoch = on_epoch
        self._rows: list[list[float]] = []
        self._started = time.monotonic()
        self._seconds_before = 0.0  # duration of the interrupted run, up to the end of its last finished epoch

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self._rows)

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds, without the time of interrupted epochs."""
        return self._seconds_before + time.monotonic() - self._started

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        values |= {"epoch": epoch, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        values["train_loss"] = values.get("train_loss_epoch", float("nan"))
        self._rows.append([values[name] for name in COLUMNS])
        with self._path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([int(first), *rest] for first, *rest in self._rows)
        if self._on_epoch is not None:
            self._on_epoch(epoch, values["val_accuracy"])

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the time, for the checkpoint."""
        return {"rows": self._rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the rows and the time of the interrupted run."""
        self._rows = state_dict["rows"]
        self._seconds_before = state_dict["seconds"]
