"""Whether a network can be written as TorchScript: asked before anything is spent on training it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.jit._trace import TracingCheckError

from driftserve.archive.contract import ImageSpec
from driftserve.errors import DataError
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import build_graph, save_scripted, to_tensor

_TOLERANCE = 1e-3  # of a logit, relative to the largest; it only has to tell a graph that follows its input from others
# What tracing raises, of a check of its own too.
_TRACING_ERRORS = (TracingCheckError, RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError)
_IMAGES = 2  # another number than the graph is traced with


def check_exportable(classifier: Classifier, spec: ImageSpec, name: str) -> None:
    """Pass if the network, untrained as it may be, is written as TorchScript that gives its logits.

    Raises:
        DataError: torch cannot trace it, or the graph gives other logits for other images.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (_IMAGES, 3, spec.height, spec.width), np.uint8)
    was_training = classifier.training
    classifier.eval()
    try:
        with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
            path = Path(scratch, "model.pt")
            save_scripted(build_graph(classifier, [pixels]), spec, path)
            scripted, _ = torch.jit.load(str(path))(to_tensor(pixels))  # type: ignore[no-untyped-call]
            eager = classifier(to_tensor(pixels))
    except _TRACING_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name} cannot be written as TorchScript: {reason}; choose another model") from error
    finally:
        classifier.train(was_training)
    difference, scale = (eager - scripted).abs().max(), eager.abs().max().clamp(min=1.0)
    if not difference <= _TOLERANCE * scale:
        raise DataError(
            f"expected a graph of {name} that gives the network's logits, got others by {difference:.2e}; "
            "choose another model"
        )
