"""Compare the outputs of the served network and the trained network."""

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
    """Compare the logits of two networks, both (N, K), on the same images."""
    eager, served = calibrate(eager_logits, temperature), calibrate(served_logits, temperature)
    return Parity(
        images=len(eager),
        max_abs_diff=float(np.abs(eager - served).max()),
        argmax_agreement=float((eager.argmax(axis=1) == served.argmax(axis=1)).mean()),
    )


def check_parity(parity: Parity, which: str) -> None:
    """Raise unless the two networks agree.

    Raises:
        ModelError: they disagree; `which` names the network that is compared with the eager one.
    """
    if not (parity.max_abs_diff <= TOLERANCE and parity.argmax_agreement == 1.0):  # NaN fails, too
        raise ModelError(
            f"expected the {which} network within {TOLERANCE} of the eager one and the same class for every image, "
            f"got {parity.max_abs_diff:.2e} and {parity.argmax_agreement:.4f}; this network cannot be exported"
        )
