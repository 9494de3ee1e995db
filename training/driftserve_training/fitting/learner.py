"""Lightning module with the loss, the optimizer, the learning rate schedule and the scores of each epoch.

A pretrained network is trained in two stages (Kumar et al. 2022): first only its head, so that the
untrained head does not distort the features; then everything, the features with a lower learning rate.
"""

from functools import partial

import lightning
import numpy as np
import torch
from timm.data.mixup import Mixup
from torch.nn.functional import cross_entropy
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.fitting.optimization import create_optimizer, rate_share
from driftserve_training.network.classifier import Classifier

CLASS_SCORES = ("f1", "precision", "recall")


class Learner(lightning.LightningModule):
    """Module that trains a classifier; it logs loss, accuracy, and F1, precision and recall per class and as means."""

    def __init__(self, classifier: Classifier, labels: tuple[str, ...], configuration: TrainingConfiguration) -> None:
        super().__init__()
        self.classifier = classifier
        self.labels = labels
        self._configuration = configuration
        self._head_epochs = configuration.head_epochs if configuration.is_pretrained else 0
        self._head = list(classifier.head_parameters())
        head = {id(parameter) for parameter in self._head}
        self._features = [parameter for parameter in classifier.parameters() if id(parameter) not in head]
        classes = len(labels)
        self._mix = _create_mix(configuration, classes)
        self._scores = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "f1": MulticlassF1Score(classes, average="none"),
                "precision": MulticlassPrecision(classes, average="none"),
                "recall": MulticlassRecall(classes, average="none"),
                "confusion": MulticlassConfusionMatrix(classes),
            }
        )
        self._val_loss_is_finite = True
        # Confusion matrix of the last validation; rows are true classes.
        self.confusion = torch.zeros(classes, classes, dtype=torch.long)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        pixels, targets = batch
        if self._mix is None or len(pixels) == 1:  # mixing needs pairs
            loss = cross_entropy(self(pixels), targets, label_smoothing=self._configuration.label_smoothing)
        else:
            even = len(pixels) - len(pixels) % 2
            mixed, soft_targets = self._mix(pixels[:even].float(), targets[:even])
            loss = cross_entropy(self(mixed), soft_targets)
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Add one batch to the epoch's loss and scores."""
        pixels, targets = batch
        logits = self(pixels)
        self._scores.update(logits, targets)
        loss = cross_entropy(logits, targets)
        self._val_loss_is_finite &= bool(loss.isfinite())
        self.log("val_loss", loss, sync_dist=True, batch_size=len(targets))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's scores, computed over all processes; each process validates on all images.

        Raises:
            DataError: the validation loss is infinite or NaN. The scores of such a network have no meaning.
        """
        if not self._val_loss_is_finite:
            raise DataError(
                f"epoch {self.current_epoch + 1}: expected a finite validation loss, got an infinite or NaN one; "
                f"the training diverged: lower --learning-rate, which is {self._configuration.learning_rate:g}"
            )
        scores = self._scores.compute()
        self._scores.reset()
        self.confusion = scores["confusion"].cpu() // self.trainer.world_size
        self.log("val_accuracy", scores["accuracy"], prog_bar=True)
        for name in CLASS_SCORES:
            self.log(f"val_macro_{name}", scores[name].mean())
            self.log_dict(
                {f"val_{name}/{label}": value for label, value in zip(self.labels, scores[name], strict=True)}
            )

    def on_train_start(self) -> None:
        """Raise unless all processes begin with the same epoch.

        Raises:
            DataError: the hosts have different checkpoints, or one has none.
        """
        epochs = self.all_gather(torch.tensor(self.current_epoch, device=self.device)).flatten().tolist()  # type: ignore[union-attr]
        if len(set(epochs)) > 1:
            raise DataError(f"expected the same checkpoint on every host, got epochs {epochs}; copy it to all hosts")

    def on_train_epoch_start(self) -> None:
        """Freeze the features and their batch statistics during the epochs of the head, and set the random seed.

        Randomness in the network, such as dropout, depends on seed, epoch and process, so a resumed run gives the same
        result as an uninterrupted one.
        """
        learns_features = self.current_epoch >= self._head_epochs
        for parameter in self._features:
            parameter.requires_grad_(learns_features)
        self.classifier.train(learns_features)
        place = (self._configuration.seed, self.current_epoch, self.global_rank)
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of N images and K classes, (N, K), for their pixels, (N, 3, H, W) in 0..255."""
        logits: torch.Tensor = self.classifier(pixels.contiguous(memory_format=torch.channels_last))
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer | dict[str, object]:  # type: ignore[override]
        """Return the optimizer and a learning rate schedule over all steps: warm-up, then cosine decay."""
        configuration = self._configuration
        features_rate = configuration.learning_rate * (configuration.features_rate if self._head_epochs else 1.0)
        optimizer = create_optimizer(
            configuration.optimizer,
            [{"params": self._head}, {"params": self._features, "lr": features_rate}],
            configuration.learning_rate,
            configuration.weight_decay,
        )
        share = partial(rate_share, steps=int(self.trainer.estimated_stepping_batches), warmup=configuration.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _create_mix(configuration: TrainingConfiguration, classes: int) -> Mixup | None:
    """Return timm's mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) for batches, or None if both are off."""
    if not (configuration.mixup or configuration.cutmix):
        return None
    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=configuration.mixup,
        cutmix_alpha=configuration.cutmix,
        label_smoothing=configuration.label_smoothing,
        num_classes=classes,
    )
