"""The network of an archive: a TorchScript graph from uint8 pixels to logits and embedding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from driftserve.errors import ArchiveError, ModelError


@dataclass(frozen=True)
class ModelOutput:
    """What the graph gives for a batch: logits (N, K) float32, embedding (N, E) float32."""

    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


class Model:
    """A loaded graph: frozen, on one thread, warmed up; called with uint8 (N, 3, H, W)."""

    def __init__(self, path: Path, height: int, width: int, warm_up_runs: int = 3) -> None:
        """Load the graph from `path` and run it, so that the first request pays for no optimisation.

        Raises:
            ArchiveError: the file is no TorchScript graph.
        """
        # A worker has one core: two threads under contention were twice as slow as one.
        torch.set_num_threads(1)
        try:
            self._graph = torch.jit.freeze(torch.jit.load(str(path), map_location="cpu").eval())  # type: ignore[no-untyped-call]
        except Exception as error:  # torch raises a dozen kinds on a file that is none of its own
            raise ArchiveError(f"{path.name}: expected a TorchScript graph, got {error}") from error
        for _ in range(warm_up_runs):
            self(np.zeros((1, height, width, 3), np.uint8).transpose(0, 3, 1, 2))

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> ModelOutput:
        """The graph's output for pixels, shape (N, 3, H, W) uint8.

        Raises:
            ModelError: the graph raised, or gave something else than logits and embedding.
        """
        try:
            with torch.inference_mode():
                batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
                logits, embedding = self._graph(batch)
                return ModelOutput(logits.numpy(), embedding.numpy())
        except Exception as error:  # a graph is code, and raises what it likes: torch.jit.Error is no RuntimeError
            raise ModelError(f"the network failed on a batch of shape {pixels.shape}: {error}") from error
