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
from selftrain_jax.text import number

FAINTEST, STRONGEST = 0.06, 0.75  # opacities of the lowest and the highest cell
CELL = 0.48 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])  # corners, around its middle


@styled()
def score_curve(search: Search, label: str) -> Plot:
    """Plot the score on val over the values of the one key: seeds as dots, their mean, its spread."""
    (key, values), *_ = search.grid.items()
    places, is_log = value_axis(values)
    axes = new_axes(key, f"{label} on val")
    scores = [100 * np.array(search.vals({key: value}), dtype=np.float64) for value in values]
    measured = [place for place, own in enumerate(scores) if len(own)]
    x = np.array([places[place] for place in measured])
    order = np.argsort(x)
    x, scores = x[order], [scores[measured[place]] for place in order]
    _draw_scores(axes, x, scores)
    if search.chosen is not None:
        chosen = places[list(values).index(search.chosen[key])]
        text = f"chosen: {format_grid_value(search.chosen[key])}"
        axes.axvline(chosen, color=ROLE_COLORS["ink"], linewidth=1.0, linestyle=":", label=text)
    _label_values(axes, places, values, is_log)
    caption = (
        f"{'The line is the mean over seeds, the dots are single seeds. ' if len(search.seeds) > 1 else ''}"
    )
    caption += "The student's score on val; test was not looked at." + (
        " The axis is logarithmic." if is_log else ""
    )
    reached = ", ".join(
        f"{format_grid_value(values[measured[place]])} {number(float(own.mean()))}"
        for place, own in zip(order, scores, strict=True)
    )
    return finish(axes, f"{label} over {key}", caption, f"{label} on val over {key}: {reached}.")


@styled()
def score_map(search: Search, label: str) -> Plot:
    """Draw the mean score on val of every pair of values of two keys; the chosen pair is framed."""
    (row_key, row_values), (column_key, column_values) = search.grid.items()
    means = mean_scores(search)
    size = (2.2 + 0.75 * len(column_values), 1.3 + 0.5 * len(row_values))
    axes = new_axes(column_key, row_key, (max(size[0], 4.0), max(size[1], 2.4)))
    _fill_cells(axes, means)
    if search.chosen is not None:
        x = list(column_values).index(search.chosen[column_key])
        y = list(row_values).index(search.chosen[row_key])
        frame = CELL + np.array([x, y])
        axes.add_collection(
            PolyCollection([frame], facecolors="none", edgecolors=ROLE_COLORS["ink"], linewidths=1.8)
        )
    axes.set_xticks(range(len(column_values)), list(map(format_grid_value, column_values)))
    axes.set_yticks(range(len(row_values)), list(map(format_grid_value, row_values)))
    axes.set_xlim(-0.5, len(column_values) - 0.5)
    axes.set_ylim(-0.5, len(row_values) - 0.5)
    axes.grid(visible=False)
    best = np.unravel_index(np.nanargmax(means), means.shape)
    caption = f"{label} of the student on val{', the mean over seeds' if len(search.seeds) > 1 else ''}; "
    caption += "empty cells are not measured. The frame is the chosen pair."
    best_pair = (row_values[best[0]], column_values[best[1]])
    alt = f"{label} on val: highest, {number(float(means[best]))}, at {row_key}={best_pair[0]} "
    alt += f"and {column_key}={best_pair[1]}."
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


def format_grid_value(value: Any) -> str:
    """Write a value of a grid in short."""
    return f"{value:g}" if is_number(value) else shorten(str(value))


def _draw_scores(axes: Axes, x: np.ndarray, scores: Sequence[np.ndarray]) -> None:
    color, means = ROLE_COLORS["student"], np.array([own.mean() for own in scores])
    spreads = np.array([np.std(own, ddof=1) if len(own) > 1 else 0.0 for own in scores])
    if spreads.any():
        low, high = means - spreads, means + spreads
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, label="mean ± sd")
        for place, own in zip(x, scores, strict=True):
            axes.plot([place] * len(own), own, "o", markersize=3, color=ROLE_COLORS["muted"])
    axes.plot(x, means, marker="o", markersize=5, color=color, label="student")


def _label_values(axes: Axes, places: Sequence[float], values: Sequence[Any], is_log: bool) -> None:
    if is_log:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, list(map(format_grid_value, values)))


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
