"""The pictures of a search: `score_curve` over the values of one key, `score_map` over those of two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.ticker import NullLocator

from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report.workdir import points
from selftrain_jax.run_files.fields import is_number
from selftrain_jax.run_files.search import Search
from selftrain_jax.text import format_setting, number

FAINTEST, STRONGEST = 0.06, 0.75  # opacities of the lowest and the highest cell
CELL = 0.48 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])  # corners, around its middle


@styled()
def score_curve(search: Search, label: str) -> Plot:
    """Plot the score on val over the values of the one key: seeds as dots, their mean, its spread."""
    ((key, values),) = search.grid.items()
    places, is_log = value_axis(values)
    axes = new_axes(shorten(key, 40), f"{label} on val")
    scores = [100 * np.array(search.vals({key: value}), dtype=np.float64) for value in values]
    measured = [index for index in np.argsort(places) if len(scores[index])]
    _draw_scores(axes, [places[index] for index in measured], [scores[index] for index in measured])
    if search.chosen is not None:
        text = f"chosen: {shorten(format_setting(search.chosen[key]))}"
        place = places[list(values).index(search.chosen[key])]
        axes.axvline(place, color=ROLE_COLORS["ink"], linewidth=1.0, linestyle=":", label=text)
    _name_values(axes, places, values, is_log)
    caption = "The line is the mean over seeds, the dots are single seeds. " if len(search.seeds) > 1 else ""
    caption += "Scores on val; test had no part in the choice."
    caption += " The axis is logarithmic." if is_log else ""
    means = [f"{format_setting(values[index])} {number(float(scores[index].mean()))}" for index in measured]
    alt = f"{label} on val over {key}: {', '.join(means)}."
    return finish(axes, f"{label} over {key}", caption, alt)


@styled()
def score_map(search: Search, label: str) -> Plot:
    """Draw the mean score on val of every pair of values of two keys; the chosen pair is framed."""
    (row_key, rows), (column_key, columns) = search.grid.items()
    means = mean_scores(search)
    size_inches = (max(2.2 + 0.75 * len(columns), 4.0), max(1.3 + 0.5 * len(rows), 2.4))
    axes = new_axes(shorten(column_key, 40), shorten(row_key, 40), size_inches)
    _fill_cells(axes, means)
    if search.chosen is not None:
        place = columns.index(search.chosen[column_key]), rows.index(search.chosen[row_key])
        frame = PolyCollection([CELL + np.array(place)], facecolors="none", edgecolors=ROLE_COLORS["ink"])
        frame.set_linewidth(1.8)
        axes.add_collection(frame)
    axes.set_xticks(range(len(columns)), [shorten(format_setting(value)) for value in columns])
    axes.set_yticks(range(len(rows)), [shorten(format_setting(value)) for value in rows])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.grid(visible=False)
    caption = "Scores on val" + (", the mean over seeds" if len(search.seeds) > 1 else "")
    caption += ". The frame is the chosen pair; empty cells are not measured."
    y, x = np.unravel_index(int(np.nanargmax(means)), means.shape)
    best = f"{row_key}={format_setting(rows[y])} and {column_key}={format_setting(columns[x])}"
    alt = f"{label} on val is highest, {number(float(means[y, x]))}, at {best}."
    return finish(axes, f"{label} over {row_key} and {column_key}", caption, alt, legend=False)


def mean_scores(search: Search) -> Float[np.ndarray, "R C"]:
    """Give the mean over seeds on val, in points, of every pair of values of two keys; NaN where missing."""
    (row_key, rows), (column_key, columns) = search.grid.items()
    means = np.full((len(rows), len(columns)), np.nan)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            values = search.vals({row_key: row, column_key: column})
            means[y, x] = points(float(np.mean(values))) if values else np.nan
    return means


def value_axis(values: Sequence[Any]) -> tuple[list[float], bool]:
    """Place values on an axis: numbers at themselves, others in their order; tell whether it is logarithmic.

    It is where the ratios of neighbours are more even than their differences: 0.25, 0.5, 1, 2, 3.
    """
    if not all(is_number(value) for value in values):
        return [float(place) for place in range(len(values))], False
    ordered = np.sort(np.array(values, dtype=np.float64))
    if len(ordered) < 3 or ordered[0] <= 0:
        return [float(value) for value in values], False
    spreads = [np.std(gaps) / np.mean(gaps) for gaps in (np.diff(np.log(ordered)), np.diff(ordered))]
    return [float(value) for value in values], bool(spreads[0] < spreads[1])


def _draw_scores(axes: Axes, x: Sequence[float], scores: Sequence[np.ndarray]) -> None:
    color, means = ROLE_COLORS["student"], np.array([own.mean() for own in scores])
    spreads = np.array([np.std(own, ddof=1) if len(own) > 1 else 0.0 for own in scores])
    if spreads.any():
        low, high = means - spreads, means + spreads
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, label="mean ± sd")
        for place, own in zip(x, scores, strict=True):
            axes.plot([place] * len(own), own, "o", markersize=3, color=ROLE_COLORS["muted"])
    axes.plot(x, means, marker="o", markersize=5, color=color, label="student")


def _name_values(axes: Axes, places: Sequence[float], values: Sequence[Any], is_log: bool) -> None:
    """Name the values on the axis, which has room for all of them."""
    axes.update_datalim([(place, axes.dataLim.y0) for place in places], updatey=False)
    if is_log:
        axes.set_xscale("log")
    axes.autoscale_view()
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [shorten(format_setting(value)) for value in values])


def _fill_cells(axes: Axes, means: Float[np.ndarray, "R C"]) -> None:
    cells = np.argwhere(np.isfinite(means))
    values = means[np.isfinite(means)]
    shares = (values - values.min()) / max(np.ptp(values), 1e-9)
    opacities = FAINTEST + (STRONGEST - FAINTEST) * shares
    colors = [to_rgba(ROLE_COLORS["student"], opacity) for opacity in opacities]
    corners = [CELL + np.array([x, y]) for y, x in cells]
    axes.add_collection(PolyCollection(corners, facecolors=colors, edgecolors="none"))
    for (y, x), value in zip(cells, values, strict=True):
        axes.text(x, y, number(float(value)), ha="center", va="center_baseline")
