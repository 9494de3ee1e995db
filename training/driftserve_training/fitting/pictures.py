"""Images for TensorBoard: augmented samples, the confusion matrix, the most confident mistakes."""

from collections.abc import Sequence

import lightning
import matplotlib.figure
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.tensorboard.writer import SummaryWriter

from driftserve_training.dataset.images import ImageDataset
from driftserve_training.fitting.learner import Learner

_SAMPLES = 32  # number of augmented images to log
_MISTAKES = 16  # most mistakes to draw
_MOST_LABELS = 30  # most labels at an axis of the confusion matrix
_COLUMNS = 4  # columns of the drawing of mistakes


class Pictures(Callback):
    """Callback that logs the first augmented samples, and the validation confusion matrix after every epoch."""

    def __init__(self, board: SummaryWriter) -> None:
        self._board = board

    def on_train_batch_start(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, batch: Sequence[torch.Tensor], __: int
    ) -> None:
        """Log the first samples of the run as the network gets them."""
        if trainer.global_step == 0:
            self._board.add_images("augmented", batch[0][:_SAMPLES], 0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the confusion matrix of the epoch."""
        if isinstance(pl_module, Learner):
            figure = confusion_figure(pl_module.confusion, pl_module.labels)
            self._board.add_figure("val_confusion", figure, trainer.current_epoch)


def confusion_figure(matrix: torch.Tensor, labels: Sequence[str]) -> matplotlib.figure.Figure:
    """Draw a confusion matrix of K classes, (K, K); rows are true classes, columns are predicted classes.

    The colour of a cell shows its share of the row. Above 30 classes the cells have no numbers, and only every n-th
    class has its label: thousands of texts would take longer than the epoch.
    """
    figure = matplotlib.figure.Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    shares = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, len(labels), -(-len(labels) // _MOST_LABELS))
    axes.set_xticks(ticks, [labels[tick] for tick in ticks], rotation=90)
    axes.set_yticks(ticks, [labels[tick] for tick in ticks])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(labels) <= _MOST_LABELS:
        for (row, column), number in np.ndenumerate(matrix.numpy()):
            axes.text(
                column, row, number, ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black"
            )
    return figure


def mistakes_figure(
    images: ImageDataset, probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], labels: Sequence[str]
) -> matplotlib.figure.Figure | None:
    """Draw the wrongly classified images with the highest confidence; return None if there are no mistakes.

    Args:
        images: N images, in the order of the probabilities.
        probabilities: (N, K), for K classes.
        targets: (N,) class indices.
        labels: names of the K classes.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    surest = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:_MISTAKES]
    if not len(surest):
        return None
    rows = -(-len(surest) // _COLUMNS)
    figure = matplotlib.figure.Figure(figsize=(2.5 * _COLUMNS, 2.8 * rows), layout="constrained")
    places = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for place in places:
        place.axis("off")
    for place, index in zip(places, surest, strict=False):
        pixels, target = images[int(index)]
        place.imshow(pixels.permute(1, 2, 0).numpy())
        sure = probabilities[index].max()
        place.set_title(f"{labels[predicted[index]]} {sure:.2f}\nis {labels[target]}", fontsize=9)
    return figure
