"""An archive of a deliberately bad model, to compare other models with."""

from collections.abc import Mapping
from pathlib import Path

import torch

from driftserve.archive.contract import Contract, GoldenImage
from driftserve.archive.writing import write_archive
from driftserve.drift.features import feature_names
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve.inference.model import load_graph
from driftserve.inference.prediction import calibrate, to_prediction
from sample_images import LABELS


class Darkest(torch.nn.Module):
    """A network that predicts the darkest of the three channels."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64
        return -8 * means, means - 2  # the confidence is high enough for golden images


def write_darkest(
    folder: Path, contract: Contract, golden: Mapping[str, bytes], labels: tuple[str, ...] = LABELS
) -> Path:
    """Write an archive like the tiny one, but with a model that is nearly always wrong; return its path.

    Args:
        folder: Where the archive is written.
        contract: The contract of the tiny network.
        golden: Golden images of the tiny network.
        labels: The three labels of the new archive.
    """
    graph, spec = folder / "model.pt", contract.image_spec
    torch.jit.script(Darkest()).save(str(graph))
    model = load_graph(graph, spec)
    answers = {name: calibrate(model(preprocess([decode(png)], spec)).logits, 1.0)[0] for name, png in golden.items()}
    images = tuple(
        GoldenImage(file=name, label=to_prediction(row, labels).label, probabilities=tuple(row.tolist()))
        for name, row in answers.items()
    )
    names = feature_names(labels, contract.embedding_size)
    reference = dict(zip(names, contract.reference.values(), strict=True))
    changed = contract.model_copy(update={"labels": labels, "reference": reference, "golden": images})
    return write_archive(folder, changed, graph, golden)
