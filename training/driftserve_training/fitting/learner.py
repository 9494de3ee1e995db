"""The training step: cross-entropy, AdamW and a one-cycle schedule, as a Lightning module.

A pretrained network learns in two stages (Kumar et al. 2022): first its head alone, so that the
random head does not distort the features, then everything, the features at a lower rate.
"""

import lightning
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.network.classifier import Classifier


class Learner(lightning.LightningModule):
    """Trains a classifier; logs `train_loss`, `val_loss` and `val_accuracy`."""

    def __init__(self, classifier: Classifier, classes: int, configuration: TrainingConfiguration) -> None:
        super().__init__()
        self.classifier = classifier
        self.classes = classes
        self._configuration = configuration
        self._head_epochs = configuration.head_epochs if configuration.is_pretrained else 0
        self._head = list(classifier.head_parameters())
        head = {id(parameter) for parameter in self._head}
        self._features = [parameter for parameter in classifier.parameters() if id(parameter) not in head]
        self._accuracy = MulticlassAccuracy(classes, average="micro")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """The loss of one batch."""
        pixels, targets = batch
        logits = self.classifier(pixels.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits, targets, label_smoothing=self._configuration.label_smoothing)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Add one batch to the epoch's loss and accuracy."""
        pixels, targets = batch
        logits = self.classifier(pixels.contiguous(memory_format=torch.channels_last))
        self._accuracy(logits, targets)
        self.log("val_loss", cross_entropy(logits, targets), sync_dist=True)
        self.log("val_accuracy", self._accuracy, prog_bar=True)

    def on_train_epoch_start(self) -> None:
        """Keep the features as they are, batch statistics too, during the head's epochs."""
        learns_features = self.current_epoch >= self._head_epochs
        for parameter in self._features:
            parameter.requires_grad_(learns_features)
        self.classifier.train(learns_features)

    def configure_optimizers(self) -> torch.optim.Optimizer | dict[str, object]:  # type: ignore[override]
        """AdamW with a one-cycle schedule over all steps (Smith and Topin 2019)."""
        rate = self._configuration.learning_rate
        features_rate = rate * (self._configuration.features_rate if self._head_epochs else 1.0)
        optimiser = torch.optim.AdamW(
            [{"params": self._head}, {"params": self._features}], weight_decay=self._configuration.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[rate, features_rate],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.1,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
