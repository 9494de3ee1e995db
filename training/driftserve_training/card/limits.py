"""The intended use of a network and the limits of its scores, as sentences for the model card."""

from driftserve_training.evaluation.document import Evaluation
from driftserve_training.explanation.document import Explanations


def to_limits(evaluation: Evaluation, explanations: Explanations | None) -> tuple[str, ...]:
    """Return a few sentences for each limit that follows from how the network was measured."""
    limits = [
        f"The network is meant for images that show one of: {', '.join(evaluation.labels)}. It cannot answer 'none "
        "of these': an image of anything else also gets one of these labels, sometimes with a high probability.",
        "The scores hold for images like those of the data set. The accuracy for other cameras, places, seasons or "
        "ways of collecting images is unknown. The drift detector shows that traffic has changed. It does not show "
        "that answers are wrong.",
        "The intervals show how far the scores would move with other images of the same collection. They do not "
        "include the effect of wrong labels, or of training with another seed.",
        "Probabilities are calibrated on validation images. On drifted images they are usually too high.",
    ]
    if evaluation.label_issues:
        limits.append(
            f"Of the {evaluation.images} evaluated images, {evaluation.label_issues} have a label that the network "
            "contradicts with confidence (confident learning). Each is a mistake of the network or of the person who "
            "labelled the image. The scores count all of them as mistakes of the network."
        )
    if evaluation.robustness:
        limits.append(
            "A program makes the corruptions, one at a time. Real noise, blur and weather look different and occur "
            "together."
        )
    if explanations:
        limits.append(
            "An explanation shows what one answer depends on. It does not show that the reason is a good one. "
            f"{len(explanations.explanations)} images are examples, not a proof."
        )
    if evaluation.attacks:
        limits.append(
            "The attacks are simple, and the attacker has the weights. The effect of a better attack, or of a sticker "
            "in the picture, is unknown."
        )
    limits.append(
        "Nothing was examined for people in the images, or for fairness among groups. Do not use the network for "
        "decisions about people or safety without further tests."
    )
    return tuple(limits)
