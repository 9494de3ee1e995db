"""The scripted network, as it will serve, and what it says of the validation images."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from driftserve.certification.population import Score
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
    """A network as the archive serves it; `reference` and `accuracy` are of `val/`, through the code that serves."""

    graph: Path
    model: Model
    score: Score
    reference: Scored
    accuracy: float
    parity: Parity


def script(record: TrainedRecord, classifier: Classifier, manifest: Manifest, graph: Path) -> ServedNetwork:
    """The network scripted into a file, its principal components fitted on `train/`.

    Raises:
        ModelError: it does not answer as the eager one does.
    """
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    spec = record.network.image_spec
    save_scripted(build_graph(classifier, pixel_batches(manifest, "train", spec)), spec, graph)
    eager_logits = _eager_logits(classifier, pixel_batches(manifest, "val", spec))

    model = load_graph(graph, spec)
    score_images = partial(score, model=model, spec=spec, temperature=record.temperature)
    reference = score_images(_validation_images(manifest))
    parity = compare(eager_logits, reference.logits, record.temperature)
    check_parity(parity, "scripted")
    return ServedNetwork(graph, model, score_images, reference, _accuracy(manifest, reference), parity)


def _eager_logits(classifier: Classifier, batches: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The logits of the network as timm runs it, not by the export graph's two steps."""
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


def _accuracy(manifest: Manifest, reference: Scored) -> float:
    """The share of the reference's images whose most probable label is theirs."""
    targets = [manifest.labels.index(entry.label) for entry in manifest.split("val")]
    return float((reference.probabilities.argmax(axis=1) == targets).mean())
