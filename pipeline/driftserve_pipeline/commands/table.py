"""Formats rows of text as columns."""

from collections.abc import Sequence

from driftserve.text import printable


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as lines with aligned columns. The first row is the heading.

    >>> print(table([["step", "status"], ["Preprocess", "Failed"]]), end="")
    step        status
    Preprocess  Failed
    """
    written = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in written)
    return "".join(f"{line.rstrip()}\n" for line in lines)
