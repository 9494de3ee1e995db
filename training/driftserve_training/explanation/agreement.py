"""Check that the explained network and the served network give the same answers to the same images."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import MODEL_FILE, ImageSpec
from driftserve.errors import DataError, ModelError
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve.inference.model import Model, load_graph
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Explanations
from driftserve_training.network.graph import build_graph, save_scripted
from driftserve_training.network.parity import TOLERANCE, Parity, check_parity, compare
from driftserve_training.network.threads import preserve_thread_count

_BATCH_SIZE = 32


def read_pixels(data: Path, images: Sequence[str], spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """Read N images of a data set by their paths in it; return them preprocessed as in serving, (N, 3, H, W) uint8."""
    return preprocess([decode((data / image).read_bytes()) for image in images], spec)


def check_scripted_agrees(
    network: DifferentiableNetwork, pixels: npt.NDArray[np.uint8], spec: ImageSpec, temperature: float
) -> Parity:
    """Write the network as TorchScript, load it as in serving, and compare both; return their parity.

    Raises:
        ModelError: the two networks do not agree.
    """
    with tempfile.TemporaryDirectory() as scratch, preserve_thread_count():
        scripted = Path(scratch, MODEL_FILE)
        save_scripted(build_graph(network.classifier, [pixels]), spec, scripted)
        served = _served_logits(load_graph(scripted, spec), pixels)
    parity = compare(network.logits(network.normalise(pixels)), served, temperature)
    check_parity(parity, "scripted")
    return parity


def check_served_answers(
    explanations: Explanations, data: Path, model: Model, spec: ImageSpec, temperature: float
) -> float:
    """Compare an archive's network with the explained network; return the largest difference of a probability.

    Args:
        explanations: the explanations, with the logits of the explained network.
        data: the data set that has the explained images.
        model: the archive's network, in TorchScript.
        spec: image specification in the contract.
        temperature: temperature in the contract.

    Raises:
        DataError: an explained image is missing.
        ModelError: the answers differ: the archive is of another training run, or the images have changed.
    """
    explained = np.array([one.logits for one in explanations.explanations], np.float32)
    try:
        pixels = read_pixels(data, [one.image for one in explanations.explanations], spec)
    except OSError as error:
        raise DataError(
            f"{data}: cannot read the explained image {error.filename}: {error.strerror}; run `explain` again"
        ) from error
    served = _served_logits(model, pixels)
    difference = np.inf
    if served.shape == explained.shape:
        difference = compare(explained, served, temperature).max_abs_diff
    if not difference <= TOLERANCE:  # written this way, because NaN must fail
        raise ModelError(
            f"expected the explained network, with probabilities within {TOLERANCE}, got a difference of "
            f"{difference:.2e}; run `explain` again"
        )
    return difference


def _served_logits(model: Model, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    starts = range(0, len(pixels), _BATCH_SIZE)
    return np.concatenate([model(pixels[start : start + _BATCH_SIZE]).logits for start in starts])
