"""Loads and runs the model of an archive: a TorchScript graph that turns uint8 pixels into logits and an embedding."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from driftserve.archive.contract import MODEL_FILE, Contract, ImageSpec
from driftserve.errors import ArchiveError, ModelError

TORCHSCRIPT_WARNING = r"`torch\.jit\.\w+` is deprecated"
_WARM_UP_RUNS = 3  # TorchScript profiles the graph in its first run and optimises it in the second, so these are slow


@dataclass(frozen=True)
class ModelOutput:
    """The model's output for a batch of N images.

    `logits` has one value per image and label, (N, labels) float32. `embedding` has the components of each image's
    embedding, (N, components) float32.
    """

    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


class Model:
    """A loaded TorchScript graph, called like a function."""

    def __init__(self, graph: torch.jit.ScriptModule) -> None:
        self._graph = graph

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> ModelOutput:
        """Return the output for N preprocessed images, (N, 3, height, width) uint8.

        Raises:
            ModelError: the graph raised an error, or returned something other than logits and embedding.
        """
        try:
            with torch.inference_mode():
                batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
                logits, embedding = self._graph(batch)
                return ModelOutput(logits.numpy(), embedding.numpy())
        except Exception as error:  # a graph is code and can raise anything; torch.jit.Error is not a RuntimeError
            raise ModelError(f"the model failed on a batch of shape {pixels.shape}: {error}") from error


def load_model(directory: Path, contract: Contract) -> Model:
    """Load the model of an unpacked archive; set torch to one thread and warm up, as `load_graph` does.

    Raises:
        ArchiveError: the archive's model file is not a TorchScript graph.
        ModelError: the graph failed in the warm-up.
    """
    return load_graph(directory / MODEL_FILE, contract.image_spec)


def expect_torchscript() -> None:
    """Ignore the warnings that TorchScript is deprecated, for the whole process, and no others.

    Archives need TorchScript. torch 2.11 to 2.13 give a DeprecationWarning, 2.14 a FutureWarning, which Python shows.
    """
    for category in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", TORCHSCRIPT_WARNING, category)


def load_graph(path: Path, spec: ImageSpec) -> Model:
    """Load a TorchScript file, which needs no contract yet, and warm it up so that the first request is not slow.

    Torch is set to one thread for the whole process.

    Args:
        path: the file.
        spec: has the image size of the warm-up.

    Raises:
        ArchiveError: the file is not a TorchScript graph.
        ModelError: the graph failed in the warm-up.
    """
    # There is one worker per core, so more threads would compete for it: two were twice as slow as one.
    torch.set_num_threads(1)
    expect_torchscript()
    try:
        graph = torch.jit.freeze(torch.jit.load(str(path), map_location="cpu").eval())  # type: ignore[no-untyped-call]
    except Exception as error:  # torch raises errors of many types on other files
        raise ArchiveError(f"{path.name} is not a TorchScript graph: {error}") from error
    model = Model(graph)
    for _ in range(_WARM_UP_RUNS):
        model(np.zeros((1, spec.height, spec.width, 3), np.uint8).transpose(0, 3, 1, 2))
    return model
