"""A table of the paper with our numbers, as text, Markdown or LaTeX; call `format_comparison`."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from selftrain_jax.paper.compare.results import FULL, Results, Sample
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import Layout, arrange_table, rows
from selftrain_jax.text import NO_VALUE, number

STARTS = {"rand": "Rand Init", "imagenet": "ImageNet Init"}  # the lines of Table 7
DIVERGED = "NaN"


class Cell(NamedTuple):
    """The paper's number and ours; None where there is none, or the training diverged."""

    published: float | None
    mean: float | None
    deviation: float | None  # of a sample, n - 1; None of one number
    num: int  # of our runs
    num_diverged: int  # of these

    @property
    def difference(self) -> float | None:
        """Return ours less the paper's."""
        return None if self.published is None or self.mean is None else self.mean - self.published


def compare_row(row: Row, sample: Sample) -> Cell:
    """Put our numbers of a row beside the paper's."""
    known = [value for value in sample.values() if value is not None]
    return Cell(
        published=row.value,
        mean=statistics.fmean(known) if known else None,
        deviation=statistics.stdev(known) if len(known) > 1 else None,
        num=len(sample),
        num_diverged=len(sample) - len(known),
    )


def arrange_as_published(table: str) -> Layout:
    """Arrange a table as the paper prints it. Raises: InputError: there is no such table."""
    if table != "7":
        return arrange_table(table)
    heads = tuple(dict.fromkeys(row.setup for row in rows(table)))
    by_place = {(row.init, row.setup): row for row in rows(table)}
    lines = tuple(
        (name, tuple(by_place.get((init, head)) for head in heads)) for init, name in STARTS.items()
    )
    return Layout(heads, lines)


def format_comparison(table: str, results: Results, form: str = "text") -> str:
    """Return a table with our numbers; `form` is text, markdown or latex.

    Raises:
        InputError: there is no such table.
    """
    heads, lines = arrange_as_published(table)
    write = _write_latex if form == "latex" else _write_plain
    grid = [["", *heads]]
    grid += [
        [name, *("" if row is None else write(compare_row(row, results.of_row(row))) for row in line)]
        for name, line in lines
    ]
    title = f"Table {table}: {rows(table)[0].metric}, {LEGEND}. {count_results(table, results)}."
    return FORMS[form](title, grid)


LEGEND = "the paper's / ours: mean ± standard deviation (n runs, difference)"


def count_results(table: str, results: Results) -> str:
    """Say how many of a table's rows have results, "3 of 18 rows have results", and at which scale."""
    found = sum(bool(results.of_row(row)) for row in rows(table))
    scale = "" if results.scale == FULL else f", at the scale {results.scale}"
    return f"{found} of {len(rows(table))} rows {'has' if found == 1 else 'have'} results{scale}"


def _write_plain(cell: Cell) -> str:
    ours = NO_VALUE if cell.num == 0 else _write_ours(cell, "±")
    return f"{_write_published(cell)} / {ours}"


def _write_latex(cell: Cell) -> str:
    ours = "--" if cell.num == 0 else _write_ours(cell, r"$\pm$").replace("\N{MINUS SIGN}", "$-$")
    return f"{_write_published(cell)} / {ours}"


def _write_published(cell: Cell) -> str:
    return DIVERGED if cell.published is None else f"{cell.published:.1f}"


def _write_ours(cell: Cell, plus_minus: str) -> str:
    if cell.mean is None:
        return f"{DIVERGED} (n={cell.num})"
    spread = "" if cell.deviation is None else f" {plus_minus} {cell.deviation:.2f}"
    diverged = f", {cell.num_diverged} diverged" if cell.num_diverged else ""
    difference = "" if cell.difference is None else f", {number(cell.difference, 2, signed=True)}"
    return f"{cell.mean:.2f}{spread} (n={cell.num}{diverged}{difference})"


def _format_text(title: str, grid: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
    lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in grid]
    return "\n".join([title, *lines])


def _format_markdown(title: str, grid: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(grid[0])
    lines = ["| " + " | ".join(cells) + " |" for cells in [grid[0], rule, *grid[1:]]]
    return "\n".join([title, "", *lines])


def _format_latex(title: str, grid: Sequence[Sequence[str]]) -> str:
    """Return a tabular environment without packages; the title is a comment above it."""
    lines = [" & ".join(map(_escape, cells)) + r" \\" for cells in grid]
    columns = "l" + "c" * (len(grid[0]) - 1)
    return "\n".join(
        [
            f"% {title}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            lines[0],
            r"\hline",
            *lines[1:],
            r"\hline",
            r"\end{tabular}",
        ]
    )


def _escape(cell: str) -> str:
    return cell.replace("%", r"\%").replace("#", r"\#").replace("_", r"\_").replace("&", r"\&")


FORMS: dict[str, Callable[[str, Sequence[Sequence[str]]], str]] = {
    "text": _format_text,
    "markdown": _format_markdown,
    "latex": _format_latex,
}
