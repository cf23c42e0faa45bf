"""A search over config values: a curve for one key, a heat map for two, a table for more; the chosen one.

Call `search_section`. Points are compared by the student's score on val, the chosen one is measured on test.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selftrain_jax.html.blocks import Block, Details, Heading, Note, Section, Table, plots
from selftrain_jax.html.plots import Plot
from selftrain_jax.report.search_plots import score_curve, score_map
from selftrain_jax.report.workdir import points
from selftrain_jax.run_files.search import Search, SearchTest
from selftrain_jax.text import NO_VALUE, format_setting, number


def search_section(search: Search | None, label: str) -> Section:
    """Show what every point of the grid reached in the metric `label`, and the chosen one on test."""
    lead = "Chosen by the mean over seeds on val. A flat curve says that the exact value hardly matters; an "
    lead += "optimum at its end asks for a wider grid."
    if search is None or not search.points:
        return Section("search", "Search", lead, [])
    drawn = plots(grid_plots(search, label), "search", "single")
    table = points_table(search, label)
    listed: list[Block] = [Details("Every point", table)] if drawn else [table]
    return Section(
        "search", "Search", lead, [*_progress(search), *drawn, *listed, *test_blocks(search, label)]
    )


def grid_plots(search: Search, label: str) -> list[Plot]:
    """Draw a curve over one key, a heat map over two; more keys have no picture."""
    if not any(search.vals(point.values) for point in search.points):
        return []
    drawing = {1: score_curve, 2: score_map}.get(len(search.grid))
    return [] if drawing is None else [drawing(search, label)]


def points_table(search: Search, label: str) -> Table:
    """List the points of the grid that are measured, the best first, with the spread over seeds."""
    measured = {tuple(point.values[key] for key in search.grid): point.values for point in search.points}
    means = {key: points_of(search, values) for key, values in measured.items()}
    order = sorted(measured, key=lambda key: -np.mean(means[key]) if len(means[key]) else np.inf)
    rows = [[*map(format_setting, key), *_mean_cells(means[key])] for key in order]
    chosen = None if search.chosen is None else tuple(search.chosen[key] for key in search.grid)
    strong = [place for place, key in enumerate(order) if key == chosen]
    return Table([*search.grid, f"{label} on val", "sd", "seeds"], rows, strong)


def test_blocks(search: Search, label: str) -> list[Block]:
    """List what the chosen point reached on test, seed by seed, with the mean and its spread."""
    if search.chosen is None:
        return []
    chosen = ", ".join(f"{key}={format_setting(value)}" for key, value in search.chosen.items())
    if not search.test:
        return [Note(f"Chosen: {chosen}. It is not measured on test yet.")]
    columns = ["teacher", "control", "student", "over control", "over teacher"]
    by_seed = np.array([_test_row(entry) for entry in search.test])
    rows = [[f"seed {entry.seed}", *_cells(row)] for entry, row in zip(search.test, by_seed, strict=True)]
    if len(rows) > 1:
        spread = [_mean_sd(column, place > 2) for place, column in enumerate(by_seed.T)]
        rows.append(["mean (sd)", *spread])
    table = Table(["", *columns], rows, [len(rows) - 1] if len(rows) > 1 else [])
    return [Heading(f"{chosen} on test, {label}"), table]


def points_of(search: Search, values: Mapping[str, Any]) -> np.ndarray:
    """Give what a point reached on val, in points, a number for each seed."""
    return np.array([points(own) for own in search.vals(values)], dtype=np.float64)


def _progress(search: Search) -> list[Note]:
    wanted = max(1, len(search.seeds)) * int(np.prod([len(values) for values in search.grid.values()]))
    done = sum(point.val is not None for point in search.points)
    return [Note(f"{done} of {wanted} points are measured so far.", "warning")] if done < wanted else []


def _mean_cells(values: np.ndarray) -> list[str]:
    spread = number(float(np.std(values, ddof=1)), 2) if len(values) > 1 else NO_VALUE
    return [number(float(np.mean(values)) if len(values) else np.nan, 2), spread, str(len(values))]


def _test_row(entry: SearchTest) -> list[float]:
    teacher, control, student = (points(own) for own in (entry.teacher, entry.control, entry.student))
    return [teacher, control, student, student - control, student - teacher]


def _cells(row: Sequence[float] | np.ndarray) -> list[str]:
    return [number(float(value), signed=place > 2) for place, value in enumerate(row)]


def _mean_sd(values: np.ndarray, signed: bool) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return NO_VALUE
    spread = f" ({np.std(known, ddof=1):.1f})" if len(known) > 1 else ""
    return number(float(known.mean()), signed=signed) + spread
