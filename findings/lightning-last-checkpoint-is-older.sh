#!/usr/bin/env bash
# Lightning 2.6.6: `save_last=True` does not keep the last epoch if that epoch saves no other checkpoint.
#
# Expected: after five epochs (numbered from 0) `last.ckpt` is of epoch 4. The documentation says that it gives access
# to the latest checkpoint, and that `every_n_epochs` does not affect it. Seen (Python 3.11, torch 2.13.0): with
# `every_n_epochs=2` it is of epoch 3. With `save_top_k=1` and a loss that never improves it is of epoch 0. A run that
# resumes from it then repeats all epochs since the best one. No warning appears. With Lightning 2.5.5 it is of epoch
# 4 in all three cases.
#
# Output seen:
#   epoch of last.ckpt after epochs 0 to 4: 4 if each epoch is saved, 3 with every_n_epochs=2, 0 with save_top_k=1 and
#   a loss that gets worse
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cat >"$folder/fit.py" <<'PY'
import logging
import sys
import tempfile
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

EPOCHS = 5
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Worsening(LightningModule):
    """A model whose validation loss is the number of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return self.layer(batch).pow(2).mean()

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("loss", float(self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def last_epoch(**options: object) -> int:
    """Train, and return the epoch of last.ckpt."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as checkpoints:
        callback = ModelCheckpoint(checkpoints, save_last=True, **options)
        examples = torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2)
        trainer = Trainer(
            accelerator="cpu", max_epochs=EPOCHS, callbacks=[callback], logger=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Worsening(), examples, examples)
        return torch.load(Path(checkpoints) / "last.ckpt", weights_only=False)["epoch"]


every_epoch = last_epoch(save_top_k=-1)
every_second = last_epoch(save_top_k=-1, every_n_epochs=2)
best_only = last_epoch(save_top_k=1, monitor="loss", mode="min")
print(
    f"epoch of last.ckpt after epochs 0 to {EPOCHS - 1}: {every_epoch} if each epoch is saved, "
    f"{every_second} with every_n_epochs=2, {best_only} with save_top_k=1 and a loss that gets worse"
)
raise SystemExit(0 if (every_epoch, every_second, best_only) == (4, 3, 0) else 1)
PY
"$folder/venv/bin/python" -W ignore "$folder/fit.py" "$folder"
