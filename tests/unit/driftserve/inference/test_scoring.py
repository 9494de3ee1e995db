import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from driftserve.archive.contract import ImageSpec
from driftserve.errors import ModelError
from driftserve.inference.model import Model
from driftserve.inference.scoring import score


class FixedNetwork(torch.nn.Module):
    """A network that gives the same logits and embedding for every image."""

    def __init__(self, logits: list[float], embedding: list[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor([logits]))
        self.register_buffer("embedding", torch.tensor([embedding]))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.logits.expand(len(pixels), -1), self.embedding.expand(len(pixels), -1)


@pytest.mark.fuzz
@hypothesis.given(
    logits=st.lists(st.floats(width=32), min_size=2, max_size=3),
    embedding=st.lists(st.floats(width=32), min_size=1, max_size=2),
)
def test_outputs_are_scored_to_finite_features_or_refused(
    spec: ImageSpec, logits: list[float], embedding: list[float]
) -> None:
    model = Model(FixedNetwork(logits, embedding))  # type: ignore[arg-type]  # a graph of the same values takes 50 ms
    images = [np.full((32, 32, 3), 90, np.uint8)] * 2
    if np.isfinite([*logits, *embedding]).all():
        scored = score(images, model, spec, 0.05)
        assert np.isfinite(scored.features).all()
        assert scored.probabilities.sum(axis=1) == pytest.approx(1.0)
    else:
        with pytest.raises(ModelError, match=r"^expected finite logits, .* for image 1;"):
            score(images, model, spec, 0.05)
