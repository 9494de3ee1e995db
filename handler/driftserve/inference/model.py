"""Loads and runs the network of an archive, a TorchScript graph from uint8 pixels to logits and embedding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from driftserve.archive.contract import MODEL_FILE, Contract, ImageSpec
from driftserve.errors import ArchiveError, ModelError

_WARM_UP_RUNS = 3  # the executor profiles the first run and optimises in the second


@dataclass(frozen=True)
class ModelOutput:
    """The graph's output for a batch: logits (N, K) float32, embedding (N, E) float32."""

    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


class Model:
    """A loaded graph, which is called with uint8 (N, 3, H, W)."""

    def __init__(self, graph: torch.jit.ScriptModule) -> None:
        self._graph = graph

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> ModelOutput:
        """Return the graph's output for pixels, shape (N, 3, H, W) uint8.

        Raises:
            ModelError: the graph raised an error, or returned something other than logits and embedding.
        """
        try:
            with torch.inference_mode():
                batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
                logits, embedding = self._graph(batch)
                return ModelOutput(logits.numpy(), embedding.numpy())
        except Exception as error:  # a graph is code and can raise anything; torch.jit.Error is not a RuntimeError
            raise ModelError(f"the network failed on a batch of shape {pixels.shape}: {error}") from error


def load_model(directory: Path, contract: Contract) -> Model:
    """Load the network of an unpacked archive on one thread, and warm it up so that the first request is not slow.

    Raises:
        ArchiveError: its file is not a TorchScript graph.
        ModelError: the graph does not run.
    """
    return load_graph(directory / MODEL_FILE, contract.image_spec)


def load_graph(path: Path, spec: ImageSpec) -> Model:
    """Load and warm up a TorchScript file that has no contract yet, on one thread.

    Args:
        path: the file.
        spec: gives the image size that the graph takes.
    """
    # A worker has one core: two threads under contention were twice as slow as one.
    torch.set_num_threads(1)
    try:
        graph = torch.jit.freeze(torch.jit.load(str(path), map_location="cpu").eval())  # type: ignore[no-untyped-call]
    except Exception as error:  # torch raises a dozen types of error on other files
        raise ArchiveError(f"{path.name}: expected a TorchScript graph, got {error}") from error
    model = Model(graph)
    for _ in range(_WARM_UP_RUNS):
        model(np.zeros((1, spec.height, spec.width, 3), np.uint8).transpose(0, 3, 1, 2))
    return model
