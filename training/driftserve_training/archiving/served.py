"""The TorchScript network as it will be served, with its answers to the validation images."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from driftserve.certification.population import Score
from driftserve.drift.reference import sample_images
from driftserve.inference.model import Model, load_graph
from driftserve.inference.scoring import Scored, score
from driftserve_training.dataset.images import decoded_images, pixel_batches
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import build_graph, save_scripted, to_tensor
from driftserve_training.network.parity import Parity, check_parity, compare
from driftserve_training.network.trained import TrainedRecord


@dataclass(frozen=True)
class ServedNetwork:
    """A network as the archive serves it.

    `scored` has the results for all N images of `val/`, computed with the serving code, and `is_right` says whether the
    most probable label is the true one, (N,). `sample` has the indices of the images that become the reference, (M,).
    `parity` compares the network with the trained one.
    """

    graph: Path
    model: Model
    score: Score
    scored: Scored
    is_right: npt.NDArray[np.bool_]
    sample: npt.NDArray[np.int64]
    parity: Parity

    @property
    def accuracy(self) -> float:
        """Accuracy on the reference."""
        return float(self.is_right[self.sample].mean())


def script(record: TrainedRecord, classifier: Classifier, manifest: Manifest, graph: Path) -> ServedNetwork:
    """Write the network as TorchScript, with principal components fitted on `train/`; return it, scored on `val/`.

    Raises:
        ModelError: the TorchScript network does not give the answers of the trained network.
    """
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    spec = record.network.image_spec
    save_scripted(build_graph(classifier, pixel_batches(manifest, "train", spec)), spec, graph)
    eager_logits = _eager_logits(classifier, pixel_batches(manifest, "val", spec))

    model = load_graph(graph, spec)
    score_images = partial(score, model=model, spec=spec, temperature=record.temperature)
    scored = score_images(_validation_images(manifest))
    parity = compare(eager_logits, scored.logits, record.temperature)
    check_parity(parity, "scripted")
    images, features = scored.features.shape
    sample = sample_images(images, features, record.seed)
    return ServedNetwork(graph, model, score_images, scored, _is_right(manifest, scored), sample, parity)


def _eager_logits(classifier: Classifier, batches: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """Return the logits of the PyTorch network before export, as timm runs it."""
    with torch.inference_mode():
        return np.concatenate(
            [classifier(to_tensor(batch)).numpy() for batch in tqdm(batches, desc="eager", unit="batch")]
        )


def _validation_images(manifest: Manifest) -> Iterable[npt.NDArray[np.uint8]]:
    number = len(manifest.split("val"))
    progress: Iterable[npt.NDArray[np.uint8]] = tqdm(
        decoded_images(manifest, "val"), desc="reference", total=number, unit="image"
    )
    return progress


def _is_right(manifest: Manifest, scored: Scored) -> npt.NDArray[np.bool_]:
    """Return for each image of `val/` whether its most probable label is the true one, (N,)."""
    targets = [manifest.labels.index(entry.label) for entry in manifest.split("val")]
    return np.asarray(scored.probabilities.argmax(axis=1) == targets)
