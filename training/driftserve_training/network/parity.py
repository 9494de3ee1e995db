"""Compare the probabilities of the served network with those of the trained network before export."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftserve.errors import ModelError
from driftserve.inference.prediction import calibrate

TOLERANCE = 1e-4  # largest allowed difference of a probability


@dataclass(frozen=True)
class Parity:
    """Number of images, largest difference of a probability, and fraction of images with the same class."""

    images: int
    max_abs_diff: float
    argmax_agreement: float


def compare(
    eager_logits: npt.NDArray[np.float32], served_logits: npt.NDArray[np.float32], temperature: float
) -> Parity:
    """Compare the logits of two networks on the same N images and K classes, both (N, K); return their parity."""
    eager, served = calibrate(eager_logits, temperature), calibrate(served_logits, temperature)
    return Parity(
        images=len(eager),
        max_abs_diff=float(np.abs(eager - served).max()),
        argmax_agreement=float((eager.argmax(axis=1) == served.argmax(axis=1)).mean()),
    )


def check_parity(parity: Parity, which: str) -> None:
    """Check that the two networks agree; `which` names the network that is compared with the one before export.

    Raises:
        ModelError: the two networks disagree.
    """
    if not (parity.max_abs_diff <= TOLERANCE and parity.argmax_agreement == 1.0):  # NaN fails, too
        raise ModelError(
            f"the {which} network differs from the network before export: expected probabilities within {TOLERANCE} "
            f"and the same class for every image, got a difference of {parity.max_abs_diff:.2e} and the same class for "
            f"{parity.argmax_agreement:.4%} of the images; this network cannot be exported"
        )
