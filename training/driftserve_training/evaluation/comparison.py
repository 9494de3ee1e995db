"""Comparison of a challenger with a champion: whether one network is better than the other on the same images."""

import numpy as np
from scipy.stats import binomtest

from driftserve.errors import DataError
from driftserve_training.evaluation.document import Comparison
from driftserve_training.evaluation.intervals import mean_interval
from driftserve_training.evaluation.predictions import Predictions


def compare(challenger: Predictions, champion: Predictions, name: str, seed: int) -> Comparison:
    """Compare the challenger with the champion called `name`, image by image, and return the result.

    The p-value is of McNemar's exact test (McNemar 1947): if the networks are equally good, each of them is equally
    likely to be the only one that is right. The difference is the challenger's accuracy minus the champion's.

    Raises:
        DataError: the predictions are not for the same images with the same true labels.
    """
    challenger_right = challenger.is_right
    champion_right = champion.is_right[_champion_indices(challenger, champion, name)]
    challenger_alone = int((challenger_right & ~champion_right).sum())
    champion_alone = int((champion_right & ~challenger_right).sum())
    discordant = challenger_alone + champion_alone
    return Comparison(
        champion=name,
        images=len(challenger.paths),
        champion_accuracy=float(champion_right.mean()),
        challenger_accuracy=float(challenger_right.mean()),
        difference=mean_interval(challenger_right.astype(np.float64) - champion_right, seed),
        challenger_alone_right=challenger_alone,
        champion_alone_right=champion_alone,
        p_value=float(binomtest(challenger_alone, discordant).pvalue) if discordant else 1.0,
    )


def _champion_indices(challenger: Predictions, champion: Predictions, name: str) -> list[int]:
    """Return the index of each of the challenger's images in the champion's predictions."""
    if set(champion.labels) != set(challenger.labels):
        raise DataError(
            f"{name}: expected predictions of {', '.join(challenger.labels)}, got {', '.join(champion.labels)}"
        )
    ours = dict(zip(challenger.paths, challenger.targets, strict=True))
    theirs = dict(zip(champion.paths, champion.targets, strict=True))
    if ours.keys() != theirs.keys() or len(champion.paths) != len(theirs):
        odd = min(ours.keys() ^ theirs.keys(), default="an image that appears twice")
        raise DataError(
            f"{name}: expected predictions of the same {len(ours)} images, got {len(champion.paths)} "
            f"(first difference: {odd}); run `evaluate` on it with this data"
        )
    if others := [path for path, label in ours.items() if theirs[path] != label]:
        raise DataError(
            f"{name}: expected the same true labels, got {theirs[others[0]]} instead of {ours[others[0]]} for "
            f"{others[0]}; run `evaluate` on it with this data"
        )
    index_of = {path: index for index, path in enumerate(champion.paths)}
    return [index_of[path] for path in challenger.paths]
