"""The table of the benchmark, in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measure, what came out, and the target; `is_met` is None where there is none."""

    measure: str
    measured: str
    target: str = ""
    is_met: bool | None = None


def to_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table.

    >>> print(to_table([Row("power", "1.0", ">= 0.9", True)]))
    | measure | measured | target | met |
    |---|---|---|---|
    | power | 1.0 | >= 0.9 | yes |
    """
    met = {None: "", True: "yes", False: "**no**"}
    lines = [f"| {row.measure} | {row.measured} | {row.target} | {met[row.is_met]} |" for row in rows]
    return "\n".join(["| measure | measured | target | met |", "|---|---|---|---|", *lines])
