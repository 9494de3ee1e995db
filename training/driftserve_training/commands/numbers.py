"""Types for argparse that read numbers and raise clear errors."""

import argparse
import math
from collections.abc import Callable


def whole_number(least: int, most: int | None = None, alternative: str = "") -> Callable[[str], int]:
    """Return an argparse type that reads a whole number from `least` to `most`.

    Args:
        least: minimum, at least 0.
        most: maximum; None for no maximum.
        alternative: text for the message if the flag accepts other values, too.

    >>> whole_number(1, 100)("12")
    12
    >>> whole_number(1)("-3")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: expected a whole number of at least 1, got '-3'
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}{alternative}, got {text!r}")
        return number

    return read


def share(text: str) -> float:
    """Read a number between 0 and 1, both excluded.

    >>> share("0.15")
    0.15
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return number
