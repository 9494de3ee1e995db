"""Graph of an archive: the network in TorchScript, which returns logits and a projected embedding."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from driftserve.archive.contract import ImageSpec
from driftserve.inference.model import expect_torchscript
from driftserve_training.network.classifier import Classifier

MAX_EMBEDDING_SIZE = 12
# Records that torch's writer adds itself.
_WRITER_RECORDS = ("version", "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment")


class ExportGraph(nn.Module):
    """Network that maps N images, (N, 3, H, W) uint8, to logits of K classes, (N, K), and an embedding, (N, E).

    The embedding is the input of the last layer, D values, projected to its first E principal components.
    """

    center: torch.Tensor
    components: torch.Tensor

    def __init__(self, classifier: Classifier, center: torch.Tensor, components: torch.Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("center", center)  # (D,)
        self.register_buffer("components", components)  # (D, E)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and embedding."""
        feature_map = _feature_map(self.classifier, pixels)
        logits: torch.Tensor = self.classifier.backbone.forward_head(feature_map)  # type: ignore[operator]
        return logits, (_pooled(self.classifier, feature_map) - self.center) @ self.components


def build_graph(classifier: Classifier, training_pixels: Iterable[npt.NDArray[np.uint8]]) -> ExportGraph:
    """Build the graph of a classifier; fit its principal components on batches of training images."""
    with torch.inference_mode():
        pooled = torch.cat(
            [
                _pooled(classifier, _feature_map(classifier, to_tensor(batch)))
                for batch in tqdm(training_pixels, desc="principal components", unit="batch")
            ]
        )
        center = pooled.mean(dim=0)
        size = min(MAX_EMBEDDING_SIZE, *pooled.shape)
        _, _, directions = torch.linalg.svd(pooled - center, full_matrices=False)
    return ExportGraph(classifier, center.clone(), directions[:size].T.clone()).eval()


def save_scripted(graph: ExportGraph, spec: ImageSpec, path: Path) -> None:
    """Trace the graph and write it as TorchScript, without the source paths that torch adds for debugging."""
    example = to_tensor(np.zeros((1, 3, spec.height, spec.width), np.uint8))
    expect_torchscript()
    with torch.inference_mode():
        traced = torch.jit.trace(graph, example)  # type: ignore[no-untyped-call]
    whole = path.with_suffix(".whole")
    traced.save(str(whole))
    _copy_without_debug_records(whole, path)
    whole.unlink()


def to_tensor(batch: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Convert a batch, (N, 3, H, W) uint8, to a tensor in channels-last memory format."""
    return torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)


def _feature_map(classifier: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    feature_map: torch.Tensor = classifier.backbone.forward_features(classifier.normalise(pixels))  # type: ignore[operator]
    return feature_map


def _pooled(classifier: Classifier, feature_map: torch.Tensor) -> torch.Tensor:
    """Return the input of the last layer, (N, D)."""
    pooled: torch.Tensor = classifier.backbone.forward_head(feature_map, pre_logits=True)  # type: ignore[operator]
    return pooled.flatten(1)


def _copy_without_debug_records(source: Path, target: Path) -> None:
    """Copy a TorchScript file without its `*.debug_pkl` records, which name files of the exporting machine.

    torch's own reader and writer keep the records aligned. They are private, so only this function uses
    them, and `test_training_to_archive` checks that the result has no paths.
    """
    reader = torch._C.PyTorchFileReader(str(source))
    writer = torch._C.PyTorchFileWriter(str(target))
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in _WRITER_RECORDS:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
