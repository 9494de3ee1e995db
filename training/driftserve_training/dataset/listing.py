"""Shorten lists of names for messages."""

from collections.abc import Sequence

_NAMED_AT_MOST = 10


def list_names(names: Sequence[str]) -> str:
    """Return the first ten names and the number of the others.

    >>> list_names(["a", "b"])
    'a, b'
    >>> list_names([*"abcdefghijkl"])
    'a, b, c, d, e, f, g, h, i, j and 2 more'
    """
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
