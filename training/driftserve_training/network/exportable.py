"""Check that a network can be exported as TorchScript, before time is spent on training it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.jit._trace import TracingCheckError

from driftserve.archive.contract import ImageSpec
from driftserve.archive.mar import MAX_ENTRY_BYTES
from driftserve.errors import DataError
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import build_graph, save_scripted, to_tensor

# Largest difference of a logit, relative to the largest logit. It only has to find graphs that ignore their input.
_TOLERANCE = 1e-3
# Errors that tracing raises, including its own check.
_TRACING_ERRORS = (TracingCheckError, RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError)
_IMAGES = 2  # a batch size that differs from that of the trace


def check_exportable(classifier: Classifier, spec: ImageSpec, name: str) -> None:
    """Raise unless the network, trained or not, can be written as TorchScript that returns the same logits.

    Raises:
        DataError: torch cannot trace the network, or the graph is too large or returns different logits.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (_IMAGES, 3, spec.height, spec.width), np.uint8)
    was_training = classifier.training
    classifier.eval()
    try:
        with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
            path = Path(scratch, "model.pt")
            save_scripted(build_graph(classifier, [pixels]), spec, path)
            check_graph_size(path, name)
            scripted, _ = torch.jit.load(str(path))(to_tensor(pixels))  # type: ignore[no-untyped-call]
            eager = classifier(to_tensor(pixels))
    except _TRACING_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"cannot write {name} as TorchScript: {reason}; choose another model") from error
    finally:
        classifier.train(was_training)
    difference, scale = (eager - scripted).abs().max(), eager.abs().max().clamp(min=1.0)
    if not difference <= _TOLERANCE * scale:
        raise DataError(
            f"expected a graph of {name} with the network's logits, got a difference of {difference:.2e}; "
            "choose another model"
        )


def check_graph_size(graph: Path, name: str) -> None:
    """Raise unless the file of a graph fits into an archive.

    Raises:
        DataError: it is too large.
    """
    if (size := graph.stat().st_size) > MAX_ENTRY_BYTES:
        raise DataError(
            f"expected a graph of {name} of at most {MAX_ENTRY_BYTES} bytes, as an archive may have, got {size}; "
            "choose a smaller model"
        )
