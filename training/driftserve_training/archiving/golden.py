"""Golden images: validation images that an archive contains, with the answers that its network must give."""

from collections.abc import Iterator
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from driftserve.archive.contract import MIN_GOLDEN_MARGIN, GoldenImage, margin_of
from driftserve.errors import ModelError
from driftserve.images.decode import decode
from driftserve.inference.prediction import to_prediction
from driftserve_training.archiving.served import ServedNetwork
from driftserve_training.dataset.manifest import Manifest

MOST_IMAGES = 8
_LONGEST_SIDE = 512  # pixels of the longer side of a golden image, so that an archive stays small
# Margins between the two highest probabilities that a small change of the network moves most, without changing the
# label.
_INFORMATIVE_MARGINS = (0.3, 0.9)


def choose_golden(manifest: Manifest, served: ServedNetwork) -> tuple[tuple[GoldenImage, ...], dict[str, bytes]]:
    """Choose up to eight golden images, from all predicted classes in turn; return them, and their PNGs by file name.

    Args:
        manifest: manifest of the images; those of `val/` are the candidates.
        served: the network to archive, with its answers to these images; it also computes the answer to each PNG.

    Raises:
        ModelError: the two highest probabilities are too close to each other for every validation image.
    """
    entries = manifest.split("val")
    golden: list[GoldenImage] = []
    images: dict[str, bytes] = {}
    for index in _candidates(served.scored.probabilities):
        png = _to_png(manifest.folder / entries[index].path)
        answer = served.score([decode(png)]).probabilities[0]
        if margin_of(answer.tolist()) > MIN_GOLDEN_MARGIN:  # the margin of a smaller copy may be too small
            file = f"golden-{len(golden):02}.png"
            label = to_prediction(answer, manifest.labels).label
            golden.append(GoldenImage(file=file, label=label, probabilities=tuple(answer.tolist())))
            images[file] = png
        if len(golden) == MOST_IMAGES:
            break
    if not golden:
        raise ModelError(
            f"expected a validation image whose two highest probabilities differ by more than {MIN_GOLDEN_MARGIN}, "
            f"got none in {len(entries)}; train longer, or on more images"
        )
    return tuple(golden), images


def _candidates(probabilities: npt.NDArray[np.float64]) -> Iterator[int]:
    """Yield indices of images with a large enough margin, from each predicted class in turn, informative ones first."""
    margins = np.array([margin_of(row) for row in probabilities.tolist()])
    is_informative = (margins >= _INFORMATIVE_MARGINS[0]) & (margins <= _INFORMATIVE_MARGINS[1])
    order = np.argsort(~is_informative, kind="stable")
    clear = order[margins[order] > MIN_GOLDEN_MARGIN]
    predicted = probabilities.argmax(axis=1)
    for turn in zip_longest(*(clear[predicted[clear] == label] for label in np.unique(predicted[clear]))):
        yield from (int(index) for index in turn if index is not None)


def _to_png(path: Path) -> bytes:
    """Return an image file as an upright PNG; a large image is scaled down."""
    image = Image.fromarray(decode(path.read_bytes()))
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
