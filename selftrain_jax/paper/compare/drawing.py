"""The paper's Figures 1 to 3 with our numbers on the same axes; call `draw_figure`, then `save_figure`.

The paper's numbers are open markers on dashed lines, ours filled ones on full lines, with the standard
deviation over the seeds. A training that diverged is a cross at the foot of its panel. Of our runs nothing is
drawn that was not run, and a line joins neighbours only.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write
from selftrain_jax.paper.compare.results import Results
from selftrain_jax.paper.compare.tables import Cell, compare_row, count_results
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import rows
from selftrain_jax.run_files.fields import Number

COLORS = {  # Okabe and Ito's palette
    "Rand Init": "#0072b2",
    "ImageNet Init": "#d55e00",
    "ImageNet++ Init": "#009e73",
    "loss normalisation": "#0072b2",
    "plain loss": "#d55e00",
}
X_LABELS = {"augment": "augmentation", "labels": "share of COCO's labels", "alpha": "alpha"}
PAPER_STYLE = {"linestyle": "--", "marker": "o", "markerfacecolor": "none", "alpha": 0.6}
OUR_STYLE = {"linestyle": "-", "marker": "o", "capsize": 3}
PANELS_A_LINE = 3
MARGIN = 0.15  # of a panel's height, at its foot, for crosses


class Point(NamedTuple):
    """A number at its place on the horizontal axis."""

    x: int
    cell: Cell


class Series(NamedTuple):
    """A line of a panel; there is a point for each of the paper's numbers."""

    name: str
    points: tuple[Point, ...]


class Panel(NamedTuple):
    """A panel: what the ticks stand for, and its lines."""

    title: str
    x_label: str
    ticks: tuple[str, ...]
    series: tuple[Series, ...]


def arrange_figure(figure: str, results: Results) -> list[Panel]:
    """Arrange a figure's rows as panels. `figure` is as in `rows`. Raises: InputError: there is none."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows(figure):
        panel, _, name = row.setup.partition(": ")
        groups.setdefault(panel, {}).setdefault(name, []).append(row)
    return [_arrange_panel(title, lines, results) for title, lines in groups.items()]


def _arrange_panel(title: str, lines: dict[str, list[Row]], results: Results) -> Panel:
    field = _find_axis([row for line in lines.values() for row in line])
    values = {getattr(row, field) for line in lines.values() for row in line}
    ticks = sorted(values, key=lambda value: (len(value), value) if isinstance(value, str) else (0, value))
    series = tuple(
        Series(
            name,
            tuple(
                Point(ticks.index(getattr(row, field)), compare_row(row, results.of_row(row))) for row in line
            ),
        )
        for name, line in lines.items()
    )
    shown = tuple(f"{tick:g}" if isinstance(tick, float) else tick for tick in ticks)
    return Panel(title, X_LABELS[field], shown, series)


def _find_axis(panel: Sequence[Row]) -> str:
    """Return the field that differs along a panel's lines."""
    return next(name for name in X_LABELS if len({getattr(row, name) for row in panel}) > 1)


def draw_figure(figure: str, results: Results) -> Figure:
    """Draw a figure. Raises: InputError: the paper has no such figure."""
    panels = arrange_figure(figure, results)
    num_lines = math.ceil(len(panels) / PANELS_A_LINE)
    num_columns = math.ceil(len(panels) / num_lines)
    drawing = Figure(figsize=(4.2 * num_columns, 3.4 * num_lines + 0.9), layout="constrained")
    axes = drawing.subplots(num_lines, num_columns, squeeze=False).flat
    for panel, own in zip(panels, axes, strict=False):
        _draw_panel(own, panel)
    for unused in list(axes)[len(panels) :]:
        unused.set_visible(False)
    number = figure.removeprefix("figure")
    drawing.suptitle(f"Figure {number}: {rows(figure)[0].metric}. {count_results(figure, results)}")
    drawing.legend(handles=_legend(panels), loc="outside lower center", ncols=5, frameon=False)
    return drawing


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        color = COLORS[series.name]
        paper = [(x, cell.published) for x, cell in series.points if cell.published is not None]
        axes.plot(*_columns(paper), color=color, **PAPER_STYLE, label=f"{series.name}, paper")  # type: ignore[arg-type]
        _draw_ours(axes, series, color)
    low, high = axes.get_ylim()
    axes.set_ylim(low - MARGIN * (high - low), high)
    for offset, series in enumerate(panel.series):
        _draw_crosses(axes, series, 0.02 * offset)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    axes.set_xticks(range(len(panel.ticks)), panel.ticks)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_ours(axes: Axes, series: Series, color: str) -> None:
    """Draw our numbers; a line ends where a neighbour was not run."""
    part: list[Point] = []
    for point in [*series.points, None]:
        if point is not None and point.cell.mean is not None:
            part.append(point)
            continue
        if part:
            x, mean = _columns([(point.x, point.cell.mean) for point in part])
            deviation = [point.cell.deviation or 0.0 for point in part]
            axes.errorbar(x, mean, yerr=deviation, color=color, **OUR_STYLE, label=f"{series.name}, ours")  # type: ignore[arg-type]
        part = []


def _draw_crosses(axes: Axes, series: Series, offset: float) -> None:
    """Mark what diverged at the foot: a thin cross in the paper, a bold one of ours."""
    color = COLORS[series.name]
    foot = dict(color=color, linestyle="none", transform=axes.get_xaxis_transform())
    paper = [(point.x - 0.08, 0.04 + offset) for point in series.points if point.cell.published is None]
    ours = [(point.x + 0.08, 0.04 + offset) for point in series.points if point.cell.num_diverged]
    if paper:
        axes.plot(*_columns(paper), marker="x", alpha=0.6, **foot, label=f"{series.name}, paper NaN")  # type: ignore[arg-type]
    if ours:
        axes.plot(*_columns(ours), marker="X", **foot, label=f"{series.name}, ours NaN")  # type: ignore[arg-type]


def _columns(points: Sequence[tuple[Number, Number | None]]) -> tuple[list[Number], list[Number | None]]:
    return [x for x, _ in points], [y for _, y in points]


def _legend(panels: Sequence[Panel]) -> list[Line2D]:
    """Return the keys of the lines, of the paper and of ours, and of crosses where there are any."""
    names = dict.fromkeys(series.name for panel in panels for series in panel.series)
    cells = [point.cell for panel in panels for series in panel.series for point in series.points]
    handles = [Line2D([], [], color=COLORS[name], linewidth=3, label=name) for name in names]
    paper = Line2D([], [], color="0.3", **PAPER_STYLE, label="paper")  # type: ignore[arg-type]
    ours = Line2D([], [], color="0.3", linestyle="-", marker="o", label="ours")
    handles += [paper, ours] if any(cell.num for cell in cells) else [paper]
    if any(cell.published is None or cell.num_diverged for cell in cells):
        handles.append(Line2D([], [], color="0.3", linestyle="none", marker="x", label="diverged"))
    return handles


def save_figure(drawing: Figure, path: Path) -> None:
    """Write a drawing as PNG, whole or not at all. Raises: InputError: the name or the folder is wrong."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--output={path}: expected a name that ends in .png")
    if not path.parent.is_dir():
        raise InputError(f"--output={path}: the folder {path.parent} does not exist")
    with matplotlib.rc_context({"font.size": 9}), atomic_write(path, "wb") as file:
        drawing.savefig(file, format="png", dpi=150)
