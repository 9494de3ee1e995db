"""Early stopping that also works for a resumed run."""

import lightning
from lightning.pytorch.callbacks import EarlyStopping


class Patience(EarlyStopping):
    """Lightning's early stopping, which also ends a resumed run that had already used up its patience."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop before the next epoch if the patience is used up."""
        super().on_train_start(trainer, pl_module)
        if self.wait_count >= self.patience:
            trainer.should_stop = True
