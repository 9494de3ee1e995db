"""Archives to hold a network against, of the three classes of `images`: the tiny network's and its opposite."""

from collections.abc import Mapping
from pathlib import Path

import torch

from driftserve.archive import write_archive
from driftserve.contract import Contract, GoldenImage
from driftserve.decode import decode
from driftserve.model import Model
from driftserve.prediction import calibrate, to_prediction
from driftserve.preprocess import preprocess


class Darkest(torch.nn.Module):
    """Says the channel that leads least."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64
        return -8 * means, means - 2  # sure enough for golden images


def write_darkest(folder: Path, contract: Contract, golden: Mapping[str, bytes], **changed: object) -> Path:
    """An archive like the tiny one, but nearly always wrong.

    Args:
        folder: for it.
        contract: the tiny network's.
        golden: its golden images.
        **changed: fields of the contract.
    """
    graph, spec = folder / "model.pt", contract.image_spec
    torch.jit.script(Darkest()).save(str(graph))
    changed_contract = contract.model_copy(update=changed)
    model = Model(graph, spec.height, spec.width)
    answers = {name: calibrate(model(preprocess([decode(png)], spec)).logits, 1.0)[0] for name, png in golden.items()}
    images = tuple(
        GoldenImage(
            file=name, label=to_prediction(row, changed_contract.labels).label, probabilities=tuple(row.tolist())
        )
        for name, row in answers.items()
    )
    return write_archive(folder, changed_contract.model_copy(update={"golden": images}), graph, golden)
