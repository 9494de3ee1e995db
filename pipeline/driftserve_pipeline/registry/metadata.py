"""Strings as a model package's CustomerMetadataProperties take them."""

import unicodedata

MOST_CHARACTERS = 256
_SIGNS = "_.:/=+-@"  # beside letters, numbers and separators: botocore's pattern of CustomerMetadataValue


def metadata_value(text: str) -> str:
    """The text with a blank for what SageMaker does not take there, cut where it is too long; `none` for nothing.

    >>> metadata_value("12 of 13 corruptions (92 %), p < 0.01")
    '12 of 13 corruptions 92 p 0.01'
    """
    taken = "".join(letter if _is_taken(letter) else " " for letter in text)
    return " ".join(taken.split())[:MOST_CHARACTERS].rstrip() or "none"


def is_metadata_value(text: str) -> bool:
    """Whether SageMaker takes the text as it is."""
    return 0 < len(text) <= MOST_CHARACTERS and all(map(_is_taken, text))


def _is_taken(letter: str) -> bool:
    return letter in _SIGNS or unicodedata.category(letter)[0] in "LZN"
