"""The tables of the benchmark, in Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measure, its result and its target; `is_met` is None if there is no target."""

    measure: str
    measured: str
    target: str = ""
    is_met: bool | None = None


def to_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of rows under the names of their columns.

    >>> print(to_table(["drift", "seen"], [["fog", "1.00"]]))
    | drift | seen |
    |---|---|
    | fog | 1.00 |
    """
    lines = [columns, *rows]
    table_lines = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([table_lines[0], "|" + "---|" * len(columns), *table_lines[1:]])


def rows_to_table(rows: Iterable[Row]) -> str:
    """Return the table of the measures and their targets.

    >>> print(rows_to_table([Row("power", "1.0", ">= 0.9", True)]))
    | measure | measured | target | met |
    |---|---|---|---|
    | power | 1.0 | >= 0.9 | yes |
    """
    met_words = {None: "", True: "yes", False: "**no**"}
    cells = [(row.measure, row.measured, row.target, met_words[row.is_met]) for row in rows]
    return to_table(("measure", "measured", "target", "met"), cells)
