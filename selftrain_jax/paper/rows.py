"""The paper's numbers: `rows("3")`, `find_row("3", 5)`, `format_table("3")`.

`python -m selftrain_jax.paper` prints every table; `selftrain_jax.paper.recipe` has the run of a row.
"""

import itertools
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.paper.coco_tables import COCO_TABLES
from selftrain_jax.paper.figures import FIGURES
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.voc_tables import VOC_TABLES

# The field that a table's columns stand for; its lines are the setups.
_COLUMNS = {"3": "labels", "5": "metric", "6": "metric", "figure2": "alpha", "figure3": "labels"}


def _numbered() -> tuple[Row, ...]:
    """Return all rows, tables in the paper's order, numbered from 1 in each."""
    tables = sorted([*COCO_TABLES, *VOC_TABLES], key=lambda row: int(row.table)) + FIGURES
    groups = itertools.groupby(tables, key=lambda row: row.table)
    return tuple(row._replace(row=k) for _, group in groups for k, row in enumerate(group, 1))


ROWS = _numbered()
TABLES = tuple(dict.fromkeys(row.table for row in ROWS))


def rows(table: str | int | None = None) -> tuple[Row, ...]:
    """Return the rows of a table (2 to 14, "figure1" to "figure3"), or of all.

    Raises:
        InputError: there is no such table.
    """
    if table is None:
        return ROWS
    selected = tuple(row for row in ROWS if row.table == str(table))
    if not selected:
        raise InputError(f"table={table} of the paper is not one of {', '.join(TABLES)}")
    return selected


def find_row(table: str | int, row: int) -> Row:
    """Return a row of a table, counted from 1.

    Raises:
        InputError: there is no such table or row.
    """
    all_rows = rows(table)
    if not 1 <= row <= len(all_rows):
        raise InputError(
            f"table={table} has the rows 1 to {len(all_rows)}, not row={row}; python -m selftrain_jax.paper "
            f"{table} prints them"
        )
    return all_rows[row - 1]


class Layout(NamedTuple):
    """A table as a grid: the heads of its columns, and lines of a name and a row for each column."""

    heads: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Row | None, ...]], ...]


def arrange_table(table: str | int) -> Layout:
    """Arrange a table's rows: a line for each setup, a column for what the paper's columns stand for.

    Raises:
        InputError: there is no such table.
    """
    table_rows = rows(table)
    column = _COLUMNS.get(table_rows[0].table, "augment")
    heads = tuple(dict.fromkeys(str(getattr(row, column)) for row in table_rows))
    lines: dict[str, dict[str, Row]] = {}
    for row in table_rows:
        lines.setdefault(_line_name(row, column, table_rows), {})[str(getattr(row, column))] = row
    return Layout(heads, tuple((name, tuple(map(line.get, heads))) for name, line in lines.items()))


def format_table(table: str | int) -> str:
    """Format a table: a line for each setup, each number followed by its row in brackets.

    Raises:
        InputError: there is no such table.
    """
    heads, lines = arrange_table(table)
    grid = [["", *heads]]
    grid += [[name, *(_cell(row) if row else "" for row in line)] for name, line in lines]
    widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in grid
    )


def _line_name(row: Row, column: str, table_rows: tuple[Row, ...]) -> str:
    """Name a line by its setup and by what distinguishes it from other lines of the same setup."""
    fields = [name for name in ("init", "steps", "labels") if name != column]
    same = [
        other
        for other in table_rows
        if other.setup == row.setup and getattr(other, column) == getattr(row, column)
    ]
    different = [str(getattr(row, name)) for name in fields if len({getattr(o, name) for o in same}) > 1]
    return ", ".join([row.setup, *different])


def _cell(row: Row) -> str:
    return f"{'NaN' if row.value is None else row.value} [{row.row}]"
