"""Golden images: validation images that travel in the archive with the answers that it must give to them."""

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
_LONGEST_SIDE = 512  # in pixels, so that an archive stays small
_INFORMATIVE_MARGINS = (0.3, 0.9)  # where a small change of the network moves the probabilities most, and swaps none


def choose_golden(manifest: Manifest, served: ServedNetwork) -> tuple[tuple[GoldenImage, ...], dict[str, bytes]]:
    """Up to eight golden images, of as many predicted classes as there are, with the PNG of each by its file name.

    Args:
        manifest: the images to choose from are those of `val/`.
        served: the network that is archived, which has answered these images; it answers the very PNG that is kept.

    Raises:
        ModelError: the network tells no validation image's class clearly enough.
    """
    entries = manifest.split("val")
    golden: list[GoldenImage] = []
    images: dict[str, bytes] = {}
    for index in _candidates(served.reference.probabilities):
        png = _to_png(manifest.folder / entries[index].path)
        answer = served.score([decode(png)]).probabilities[0]
        if margin_of(answer.tolist()) > MIN_GOLDEN_MARGIN:  # a smaller copy may be less clear
            file = f"golden-{len(golden):02}.png"
            label = to_prediction(answer, manifest.labels).label
            golden.append(GoldenImage(file=file, label=label, probabilities=tuple(answer.tolist())))
            images[file] = png
        if len(golden) == MOST_IMAGES:
            break
    if not golden:
        raise ModelError(
            f"expected a validation image whose two most probable classes lie more than {MIN_GOLDEN_MARGIN} apart, "
            f"got none in {len(entries)}; train longer, or on more images"
        )
    return tuple(golden), images


def _candidates(probabilities: npt.NDArray[np.float64]) -> Iterator[int]:
    """The images that are clear enough, round the predicted classes; in each those of a telling margin first."""
    margins = np.array([margin_of(row) for row in probabilities.tolist()])
    is_informative = (margins >= _INFORMATIVE_MARGINS[0]) & (margins <= _INFORMATIVE_MARGINS[1])
    order = np.argsort(~is_informative, kind="stable")
    clear = order[margins[order] > MIN_GOLDEN_MARGIN]
    predicted = probabilities.argmax(axis=1)
    for turn in zip_longest(*(clear[predicted[clear] == label] for label in np.unique(predicted[clear]))):
        yield from (int(index) for index in turn if index is not None)


def _to_png(path: Path) -> bytes:
    """The decoded pixels of an image file as a PNG, upright, scaled down where they are many."""
    image = Image.fromarray(decode(path.read_bytes()))
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
