"""Make strings valid as values in a model package's CustomerMetadataProperties."""

import unicodedata

MOST_CHARACTERS = 256  # limit of one value
_SIGNS = "_.:/=+-@"  # allowed beside letters, blanks and digits; from botocore's pattern of CustomerMetadataValue


def metadata_value(text: str) -> str:
    """Replace characters that SageMaker refuses with blanks, and cut a long text; return `none` if nothing is left.

    >>> metadata_value("12 of 13 corruptions (92 %), p < 0.01")
    '12 of 13 corruptions 92 p 0.01'
    """
    taken = "".join(letter if _is_taken(letter) else " " for letter in text)
    return " ".join(taken.split())[:MOST_CHARACTERS].rstrip() or "none"


def is_metadata_value(text: str) -> bool:
    """Return whether SageMaker accepts the text unchanged."""
    return 0 < len(text) <= MOST_CHARACTERS and all(map(_is_taken, text))


def _is_taken(letter: str) -> bool:
    return letter in _SIGNS or unicodedata.category(letter)[0] in "LZN"
