"""How every plot of a page looks.

Draw on the `Axes` of `new_axes` inside a function decorated with `styled`; `render` puts it on a page.
Colours are named by their role. In SVG they become CSS variables of that name, so that one drawing serves
the light and the dark page.
"""

import io
import re
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

ROLE_COLORS = {  # Okabe and Ito's palette, safe for the colour-blind; every value must differ
    "ink": "#1d2733",
    "muted": "#5e6a77",
    "rule": "#d8dde3",
    "teacher": "#0072b2",
    "control": "#cf7f00",
    "control_half": "#cc79a7",
    "oracle": "#3a4a5c",
    "student": "#009e73",
    "human": "#0072b3",
    "pseudo": "#d55e00",
    "series1": "#0072b1",
    "series2": "#d55e01",
    "series3": "#8250c4",
    "series4": "#a87800",
    "series5": "#c2407f",
    "series6": "#4f7f8f",
}
DARK_COLORS = {
    "ink": "#e6eaee",
    "muted": "#98a4b0",
    "rule": "#333d47",
    "teacher": "#56b4e9",
    "control": "#f0b040",
    "control_half": "#e39cc4",
    "oracle": "#c5ced8",
    "student": "#35c99d",
    "human": "#56b4e9",
    "pseudo": "#ff8c52",
    "series1": "#56b4ea",
    "series2": "#ff8c53",
    "series3": "#b79af5",
    "series4": "#e0b94a",
    "series5": "#f08ab5",
    "series6": "#8fc1d1",
}
NUM_SERIES = 6  # colours of what has no role
LINE_STYLES = {
    "teacher": "-",
    "control": (0, (4, 1.5)),
    "control_half": (0, (1.5, 1.5)),
    "oracle": (0, (6, 1.5, 1.5, 1.5)),
    "student": "-",
    "human": "-",
    "pseudo": (0, (4, 1.5)),
}
MAX_POINTS = 400  # of one line; more are thinned out

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "selftrain_jax",
    "text.parse_math": False,  # a class may be called "$5$"
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": ROLE_COLORS["ink"],
    "axes.labelcolor": ROLE_COLORS["muted"],
    "axes.edgecolor": ROLE_COLORS["rule"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": ROLE_COLORS["rule"],
    "grid.linewidth": 0.6,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "xtick.color": ROLE_COLORS["rule"],
    "ytick.color": ROLE_COLORS["rule"],
    "xtick.labelcolor": ROLE_COLORS["muted"],
    "ytick.labelcolor": ROLE_COLORS["muted"],
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
}


class Plot(NamedTuple):
    """A figure with its words: a title, what to look for, and its content for those who cannot see it."""

    title: str
    caption: str
    alt: str
    figure: Figure


class Drawing(NamedTuple):
    """The inside of an SVG element. Matplotlib has escaped the texts in it."""

    view_box: str
    body: Markup


def new_axes(x_label: str, y_label: str, size_inches: tuple[float, float] = (5.2, 3.1)) -> Axes:
    """Make a figure of one pair of axes; `axes.figure` is the figure."""
    figure = Figure(figsize=size_inches, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(length=0)
    return axes


def new_step_axes(x_label: str, y_label: str) -> Axes:
    """Make axes for a curve over training steps."""
    axes = new_axes(x_label, y_label)
    axes.set_xmargin(0.03)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    return axes


def finish(axes: Axes, title: str, caption: str, alt: str, legend: bool = True) -> Plot:
    """Put the legend above the axes and hand the figure over with its words."""
    if legend:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4)
    figure = axes.figure
    assert isinstance(figure, Figure)
    return Plot(title, caption, alt, figure)


def thin(
    x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Keep at most about MAX_POINTS points of a line, evenly, the last one always."""
    stride = max(1, -(-len(x) // MAX_POINTS))
    kept = np.arange(len(x) - 1, -1, -stride)[::-1]
    return x[kept], y[kept]


def shorten(name: str, limit: int = 26) -> str:
    """Cut a class name that would not fit into a plot; what cannot be printed becomes a mark."""
    flat = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(name.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


@matplotlib.rc_context(STYLE)
def draw_svg(figure: Figure, key: str) -> Drawing:
    """Draw a figure: its ids begin with `key` (unique in the page), its colours are CSS variables."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    drawing = buffer.getvalue()
    view_box = re.search(r'viewBox="([-0-9. ]+)"', drawing)
    assert view_box is not None
    body = drawing[drawing.index(">", view_box.end()) + 1 : drawing.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=xlink:href="#)', f"{key}-", body).replace("xlink:href", "href")
    body = body.replace("'DejaVu Sans'", "var(--sans)")
    for role, color in ROLE_COLORS.items():
        body = body.replace(color, f"var(--{role})")
    return Drawing(view_box[1], Markup(re.sub(r"\s*\n\s*", "\n", body)))


@matplotlib.rc_context(STYLE)
def figure_png(figure: Figure, dots_per_inch: int = 160) -> bytes:
    """Draw a figure on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return buffer.getvalue()


def styled() -> Any:
    """Make the decorator for functions that draw; it sets matplotlib's style for their duration only."""
    return matplotlib.rc_context(STYLE)
