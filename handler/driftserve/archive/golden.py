"""Compares the answer to a golden image with the contract. It does not import torch: the supervisor uses it, too."""

from collections.abc import Mapping, Sequence

from driftserve.archive.contract import GoldenImage

# The largest accepted difference of a probability. Another processor, number of threads or batch changes only the last
# digits; another model, preprocessing or temperature changes more than this.
GOLDEN_TOLERANCE = 1e-3


def golden_mismatch(golden: GoldenImage, labels: Sequence[str], probabilities: Mapping[str, float]) -> str | None:
    """Describe how the answer to a golden image differs from the contract; return None if it matches.

    The most probable label is compared first. An answer with another top label cannot match, because the tolerance is
    far smaller than the margin between the golden image's two highest probabilities.

    Args:
        golden: the image with the expected answer.
        labels: the contract's labels.
        probabilities: the probability of each label in the answer.
    """
    if set(probabilities) != set(labels):
        return f"{golden.file}: expected the labels {', '.join(labels)}, got {', '.join(map(str, probabilities))}"
    for expected, label in sorted(zip(golden.probabilities, labels, strict=True), reverse=True):
        if not abs((got := probabilities[label]) - expected) <= GOLDEN_TOLERANCE:  # NaN does not match
            return f"{golden.file}: expected {label} at {expected:.4f} within {GOLDEN_TOLERANCE}, got {got:.4f}"
    return None
