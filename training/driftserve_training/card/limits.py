"""What a network is for, and what its numbers do not say, in plain words."""

from driftserve_training.evaluation.document import Evaluation
from driftserve_training.explanation.document import Explanations


def to_limits(evaluation: Evaluation, explanations: Explanations | None) -> tuple[str, ...]:
    """A few sentences for each limit that follows from how the network was measured."""
    limits = [
        f"It is meant for images that show one of: {', '.join(evaluation.labels)}. It knows no 'none of these': an "
        "image of anything else gets one of the labels too, at times with a high probability.",
        "The scores hold for images like those of the data set. For other cameras, places, seasons or ways of "
        "collecting them the accuracy is not known; the drift detector tells that traffic has changed, not that "
        "answers are wrong.",
        "The intervals say how far the scores would move with other images of the same collection. They say nothing of "
        "wrong labels in it, nor of what training with another seed would give.",
        "Probabilities are calibrated on validation images. On drifted images they promise too much, as a rule.",
    ]
    if evaluation.label_issues:
        limits.append(
            f"Of the {evaluation.images} images that it was measured on, {evaluation.label_issues} have a label that "
            "it contradicts with confidence (confident learning): mistakes of its own, or of whoever labelled them. "
            "The scores count all of them as its own."
        )
    if evaluation.robustness:
        limits.append(
            "The corruptions are made by a program, one at a time. Real noise, blur and weather come together, and "
            "differ."
        )
    if explanations:
        limits.append(
            "An explanation shows what one answer hangs on, not that the reason is a good one; "
            f"{len(explanations.explanations)} images are examples, not a proof."
        )
    if evaluation.attacks:
        limits.append(
            "The attacks are simple ones, by somebody who has the weights. What a better one, or a sticker in the "
            "picture, does is not known."
        )
    limits.append(
        "Nothing here was examined for people in the images, or for fairness among groups. Leave decisions about "
        "people, or about safety, to no classifier that was tested no further than this."
    )
    return tuple(limits)
