"""Explain predictions of a trained network: choose images, attribute, test the attributions, draw, and write."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate, to_prediction
from driftserve_training.dataset.images import evaluation_loader
from driftserve_training.dataset.manifest import Entry, Manifest, scan
from driftserve_training.dataset.trained_images import check_same_images, read_trained_images
from driftserve_training.evaluation.scores import score
from driftserve_training.explanation.agreement import check_scripted_agrees, read_pixels
from driftserve_training.explanation.attribution import COMPLETENESS_TOLERANCE, Attribution, attribute
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import (
    Explanation,
    Explanations,
    Method,
    RandomisedStage,
    write_explanations,
)
from driftserve_training.explanation.faithfulness import Deletion, delete, summarise
from driftserve_training.explanation.picture import draw
from driftserve_training.explanation.randomisation import randomise
from driftserve_training.explanation.selection import select
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.trained import TrainedRecord, load_trained

_BATCH_SIZE = 32
_RANDOMISED_IMAGES = 4  # number of images for the randomisation test
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _ExplainedImage:
    """One image with its attribution and its deletion test; `logits` are those of K classes, (1, K) float32."""

    entry: Entry
    logits: npt.NDArray[np.float32]
    attribution: Attribution
    deletion: Deletion


def explain(
    trained: Path,
    data: Path,
    split: str = "test",
    images: int = 12,
    method: Method = "integrated_gradients",
    seed: int = 0,
    steps: int = 64,
    randomisation: bool = True,
) -> Explanations:
    """Explain images of a split, correctly and wrongly predicted ones; write and return the explanations.

    The explanations are written to `<trained>/explanations`.

    Attributions that do not add up to the change of the logit are written too; a warning names the image.

    Args:
        trained: folder of a training run.
        data: data set of the run.
        split: folder of the data set with the images.
        images: number of images; a smaller split is explained completely.
        method: method of attribution.
        seed: seed of the draw of images and of the random orders.
        steps: number of steps of Integrated Gradients.
        randomisation: whether to compare the attributions of a few images with those of randomised networks.

    Raises:
        DataError: the training run cannot be used, the data set is another one, or the method cannot take this network.
        ModelError: the TorchScript network does not give the answers of the trained network; nothing is written.
    """
    record, classifier = load_trained(trained)
    spec = record.network.image_spec
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = DifferentiableNetwork(classifier)
    if method == "grad_cam":
        network.check_feature_map(spec.height, spec.width)
    manifest = _scan(data, split, record)
    check_same_images(manifest, read_trained_images(trained, record.manifest_sha256), (split,))
    entries = _choose(classifier, manifest, split, record, images, seed)
    pixels = read_pixels(data, [entry.path for entry in entries], spec)
    parity = check_scripted_agrees(network, pixels, spec, record.temperature)

    explained, pictures = [], {}
    progress = tqdm(zip(entries, pixels, strict=True), desc=method, total=len(entries), unit="image")
    for index, (entry, image) in enumerate(progress):
        picture = f"explanation-{index:02}.png"
        explained.append(_explain_one(network, record, entry, image, method, seed, steps))
        pictures[picture] = draw(image, explained[-1].attribution.heat_map)
    document = Explanations(
        method=method,
        split=split,
        parity_max_abs_diff=parity.max_abs_diff,
        explanations=tuple(
            _to_explanation(one, picture, record) for one, picture in zip(explained, pictures, strict=True)
        ),
        faithfulness=summarise([one.deletion for one in explained], seed),
        seed=seed,
        steps=steps if method == "integrated_gradients" else None,
        randomisation=_randomise(network, pixels, method, steps, seed) if randomisation else (),
    )
    write_explanations(trained, document, pictures)
    return document


def _choose(
    classifier: Classifier, manifest: Manifest, split: str, record: TrainedRecord, images: int, seed: int
) -> list[Entry]:
    """Choose the images to explain, by the network's predictions for the whole split."""
    loader = evaluation_loader(manifest, split, record.network.image_spec, _BATCH_SIZE, workers=0)
    logits, targets = score(classifier, loader, split)
    indices = select(calibrate(logits, record.temperature), targets, images, seed)
    return [manifest.split(split)[index] for index in indices]


def _scan(data: Path, split: str, record: TrainedRecord) -> Manifest:
    manifest = scan(data, (split,))
    if manifest.labels != record.labels:
        raise DataError(
            f"{data}: expected the classes of the training run, {', '.join(record.labels)}, "
            f"got {', '.join(manifest.labels)} in {split}/; give the data of the training run"
        )
    return manifest


def _explain_one(
    network: DifferentiableNetwork,
    record: TrainedRecord,
    entry: Entry,
    pixels: npt.NDArray[np.uint8],
    method: Method,
    seed: int,
    steps: int,
) -> _ExplainedImage:
    inputs = network.normalise(pixels[None])
    logits = network.logits(inputs)
    target = int(logits[0].argmax())
    attribution = attribute(network, inputs, target, method, steps)
    error = attribution.completeness_error
    if error is not None and error > COMPLETENESS_TOLERANCE:
        _logger.warning(
            "%s: the attributions miss %.0f %% of the change of the logit; give more --steps", entry.path, 100 * error
        )
    deletion = delete(network, inputs, attribution.heat_map, target, record.temperature, seed)
    return _ExplainedImage(entry, logits, attribution, deletion)


def _randomise(
    network: DifferentiableNetwork, pixels: npt.NDArray[np.uint8], method: Method, steps: int, seed: int
) -> tuple[RandomisedStage, ...]:
    """Run the randomisation test on a few of the images, correctly and wrongly predicted ones."""
    some = np.unique(np.linspace(0, len(pixels) - 1, _RANDOMISED_IMAGES).round().astype(int))
    inputs = network.normalise(pixels[some])
    targets = network.logits(inputs).argmax(axis=1).tolist()
    return randomise(network, inputs, targets, method, steps, seed)


def _to_explanation(explained: _ExplainedImage, picture: str, record: TrainedRecord) -> Explanation:
    prediction = to_prediction(calibrate(explained.logits, record.temperature)[0], record.labels)
    return Explanation(
        image=explained.entry.path,
        picture=picture,
        label=explained.entry.label,
        predicted=prediction.label,
        probability=prediction.score,
        logits=tuple(explained.logits[0].tolist()),
        deletion_auc=explained.deletion.auc,
        random_deletion_auc=explained.deletion.random_auc,
        moved_deletion_auc=explained.deletion.moved_auc,
        completeness_error=explained.attribution.completeness_error,
    )
