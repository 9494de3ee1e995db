"""Golden images: is an answer the one that the archive promises? Without torch, for the supervisor asks too."""

from collections.abc import Mapping, Sequence

from driftserve.archive.contract import GoldenImage

# Of a probability. Another processor, number of threads or batch moves the last digits; another model, preprocessing or
# temperature moves more than this.
GOLDEN_TOLERANCE = 1e-3


def golden_mismatch(golden: GoldenImage, labels: Sequence[str], probabilities: Mapping[str, float]) -> str | None:
    """What differs between the answer to a golden image and the contract's, or None when it is right.

    The most probable label is compared first. No other can pass for it: the tolerance is far smaller than its margin.

    Args:
        golden: the image, and the answer to expect.
        labels: the contract's.
        probabilities: the answer, by label.
    """
    if set(probabilities) != set(labels):
        return f"{golden.file}: expected the labels {', '.join(labels)}, got {', '.join(map(str, probabilities))}"
    for expected, label in sorted(zip(golden.probabilities, labels, strict=True), reverse=True):
        if not abs((got := probabilities[label]) - expected) <= GOLDEN_TOLERANCE:  # NaN is no match
            return f"{golden.file}: expected {label} at {expected:.4f} within {GOLDEN_TOLERANCE}, got {got:.4f}"
    return None
